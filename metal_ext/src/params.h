// What every Metal kernel is told. Read by the C++ compiler and, pasted before tables.metal, by Metal's:
// 32-bit fields only, so that both lay it out alike.

struct Params {
  int kind;        // of cell: 0 ternary, 1 quad, 2 count, 3 TRUE-wins
  uint bits;       // T
  uint neurons;    // of this launch
  uint first;      // the launch's first neuron in the lists of connections, seed, cluster and row
  uint examples;   // of the stream, or of the inputs to read
  uint begin;      // the launch's examples are [begin, end)
  uint end;
  uint threshold;  // of the sampling hash; 0: every example is written
  uint words;      // of 32 bits, in `clear`
  uint fill;       // what `clear` writes
};
