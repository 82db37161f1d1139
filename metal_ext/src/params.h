// The parameters of every Metal kernel. The C++ compiler reads this file, and Metal's compiler reads it
// pasted before tables.metal. All fields have 32 bits, so that both compilers use the same layout.

struct Params {
  int kind;        // kind of cells: 0 ternary, 1 quad, 2 count, 3 TRUE-wins
  uint bits;       // T, the number of address bits
  uint neurons;    // number of neurons of this launch
  uint first;      // place of the launch's first neuron in the lists of connections, seed, cluster and row
  uint examples;   // number of examples to write or to read
  uint begin;      // the launch's examples are [begin, end)
  uint end;
  uint threshold;  // an example is written if its hash is below this; 0 means every example
  uint words;      // number of 32-bit words that `clear` writes
  uint fill;       // the word that `clear` writes
};
