#!/bin/sh
# Build and install the native kernels where there is a C++ compiler. Without one the library runs on XLA and
# gives the same numbers, more slowly.
set -e
if command -v c++ >/dev/null; then
  cd "$(dirname "$0")" && pip install -q .
else
  echo "no C++ compiler: the native kernels are left out, everything runs on XLA"
fi
