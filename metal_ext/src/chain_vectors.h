// Vectors of eight floats, with exp and log.
//
// The same text must give the same bits on every machine, because a text that one machine compressed may be
// decompressed on another. So floats are added in a fixed order, without contraction, and exp and log are polynomials
// of operations that every processor rounds alike.

#pragma once

#include <cstdint>
#include <cstring>

namespace wnn {
namespace chain {

constexpr int kLane = 8;

typedef float Floats __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(32)));  // the bits of floats are added without overflow

static inline Floats Load(const float* x) {
  Floats v;
  std::memcpy(&v, x, sizeof(v));
  return v;
}

static inline void Store(float* x, Floats v) { std::memcpy(x, &v, sizeof(v)); }

static inline Floats All(float x) { return Floats{x, x, x, x, x, x, x, x}; }

// Takes `one` where the mask is set.
static inline Floats Select(Ints mask, Floats one, Floats other) {
  return (Floats)(((Ints)one & mask) | ((Ints)other & ~mask));
}

static inline Floats Between(Floats x, float low, float high) {
  x = Select(x > All(low), x, All(low));  // `low` for NaN
  return Select(x < All(high), x, All(high));
}

// log x for normal x > 0, from the series of atanh around 1; exact to a unit in the last digit. Some float for any
// other x, which only a damaged table holds.
static inline Floats Log(Floats x) {
  const Words bits = (Words)x - 0x3F3504F3u;  // so that the mantissa is in [sqrt(1/2), sqrt(2))
  const Ints exponent = (Ints)bits >> 23;
  const Floats m = (Floats)((Words)x - ((Words)exponent << 23));
  const Floats t = (m - 1.0f) / (m + 1.0f), s = t * t;
  const Floats series = 1.0f + s * (0.33333334f + s * (0.2f + s * (0.14285715f + s * 0.11111111f)));
  return 2.0f * t * series + __builtin_convertvector(exponent, Floats) * 0.69314718f;
}

// e^x for |x| <= 80.
static inline Floats Exp(Floats x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Floats k = (x * 1.44269504f + kMagic) - kMagic;
  const Floats r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  const Floats p =
      ((((r * 1.9875691500e-4f + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r +
       1.6666665459e-1f) * r + 5.0000001201e-1f;
  const Floats y = p * r * r + r + 1.0f;
  return (Floats)((Words)y + ((Words)__builtin_convertvector(k, Ints) << 23));
}

static inline Floats Sqrt(Floats x) {
  Floats y;
  for (int i = 0; i < kLane; ++i) y[i] = __builtin_sqrtf(x[i]);
  return y;
}

static inline Floats Sigmoid(Floats x) { return 1.0f / (1.0f + Exp(-x)); }

// The sum of eight lanes, in a fixed order.
static inline float Sum(Floats v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

}  // namespace chain
}  // namespace wnn
