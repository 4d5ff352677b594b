"""The console: all that a person sees, and the only package that may import rich.

Everything read from data goes through `plain.escape`, so nothing in a message can move the
cursor, set a title or forge a line. Shapes carry the meaning and colour repeats it, so a pipe, a
terminal without colours and an ASCII locale lose nothing. A tree and the live lines are
drawn with the standard library alone: they are shown before rich would be imported.

    plain     out(text)  err(text)  escape(text)  colour(stream)            what every command uses
    ink       Ink.of(stream)                                                marks, colours, cells, cutting to width
    tree      show_tree(tree, stream)  show_correlations(trees, stream)     one correlation; the newest ones
    lines     show_lines(facts, stream)  fact_line(fact)                    one fact, one line, for pipes
    live      LiveTracer(stream)   .facts(facts) .note(text) .tick()        facts as they come
    mermaid   as_mermaid(tree)                                              one correlation as a sequence diagram
    progress  with show_progress(what, stream) as advance: advance(done, total)
    card      show_card(title, rows, stream, warnings=(), keys=())          the start of `run`
    problem   show_error(error, stream)                                     error, problems, hint

Decides nothing: what happened is told by `causation`, what is of interest by `filtering`.
"""
