# Writes the file OUTPUT: a C++ string literal of SOURCES/tables.metal, with params.h in place of its include.
file(READ "${SOURCES}/params.h" PARAMS)
file(READ "${SOURCES}/tables.metal" TABLES)
string(REPLACE "#include \"params.h\"" "${PARAMS}" TABLES "${TABLES}")
file(WRITE "${OUTPUT}" "R\"METAL(${TABLES})METAL\"")
