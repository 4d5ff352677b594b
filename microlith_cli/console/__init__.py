"""The console: all that a person sees, and the only package that may import rich.

Everything read from data is escaped here, so nothing in a message can move the cursor, set a
title or forge a line. Shapes carry the meaning and colour repeats it, so a pipe, a terminal without
colours and an ASCII locale lose nothing. A trace is drawn with the standard library alone: it is
shown before rich would be imported.

    plain     out(text)  err(text)  escape(text)  write(stream, text)     lines, for every command
    blocks    message_block(event)                                        one message, field by field
    ink       Ink.of(stream)  one_line(text)  duration(ms, ink)           marks, colours, cells, cutting to width
    tree      show_tree(tree, stream)                                     one correlation
    growing   with show_growth() as growth: growth.take(facts, running)   the same while it grows, drawn over itself
    listing   show_correlations(trees, stream)                            the newest correlations
    lines     show_lines(facts, stream)                                   one fact, one line, for pipes
    live      LiveTracer(stream): .facts(facts) .note(text) .close()      facts as they come
    mermaid   mermaid_lines(tree)                                         one correlation as a sequence diagram
    card      show_card(title, rows, stream)                              names and values, at the start of `run`
    progress  with show_progress(stream) as advance: advance(name, done, total)

Decides nothing: what happened is told by `causation`, what is of interest by `filtering`.
"""
