"""RabbitMQ as a transport, over AMQP 0-9-1.

`transport` is what the application sees. Behind it two `line`s are kept to the broker: `sending` uses one, `taking` the
other, so that a broker which stops reading what is sent to it, for lack of memory, is still told what was settled.
`topology` says what has to be there, `packing` how a parcel is written.
"""

from microlith.transports.rabbitmq.transport import RabbitMQTransport

__all__ = ["RabbitMQTransport"]
