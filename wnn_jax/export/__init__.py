"""Export of frozen models to C and Verilog, and proof that they compute the same.

    export.c(model, "model.h", tests=X[:2])
    print(export.verify(model, X, path="model.h"))
    export.verilog(model, "model.v")
    print(export.size(model).kib, export.area(model))

Source: docs/semantics/export.md
"""
