# Writes OUTPUT, a C++ string literal: tables.metal of SOURCES with params.h in the place of its include.
file(READ "${SOURCES}/params.h" PARAMS)
file(READ "${SOURCES}/tables.metal" TABLES)
string(REPLACE "#include \"params.h\"" "${PARAMS}" TABLES "${TABLES}")
file(WRITE "${OUTPUT}" "R\"METAL(${TABLES})METAL\"")
