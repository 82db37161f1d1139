// Made by metal_ext/constants.py from wnn_jax: change it there.

#pragma once

#include <cstdint>

namespace wnn {

constexpr int64_t kMaxBits = 24;
constexpr int64_t kMaxWords = 32;

namespace chain {

constexpr int kBucket = 4;
constexpr int kCell = 3;
constexpr int kFastLimit = 2;
constexpr int kFastMost = 255;
constexpr int kStaticCell = 4;
constexpr int kDiscountUnit = 1024;
constexpr int kCodeBits = 16;
constexpr int kOwnKinds = 4096;
constexpr int kKinds = 4160;
constexpr int kRecent = 6;
constexpr int kFolded = 3;
constexpr int kClassBits[] = {6, 9, 12};
constexpr int kCountEdges[] = {1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 100};
constexpr int kCountSteps = 12;
constexpr int kStates = 144;
constexpr double kSmooth = 0.4;
constexpr int kHitNeurons = 6;
constexpr int kHits = 128;
constexpr int kClasses = 65;
constexpr int kGainStates = 4418;
constexpr int kGainRows = 4706;
constexpr int kLanes = 8;
constexpr float kRange = 13.0f;
constexpr float kLeast = 2e-06f;
constexpr int kMatchLengths = 32;
constexpr int kMatchLog = 18;
constexpr int kMatchOrder = 3;
constexpr int kMatchRun = 2;
constexpr float kMatchRate = 0.005f;
constexpr float kMatchGainRate = 0.002f;
constexpr float kMatchLeast = 0.001f;
constexpr float kMatchMost = 0.9999f;
constexpr int kRefineLog = 16;
constexpr int kRefineSteps = 33;
constexpr float kRefineWidth = 0.75f;
constexpr float kRefineEdge = 15.99f;
constexpr float kRefineRate = 0.02f;
constexpr int kRegisters = 12;

enum Lexicon {
  kLexiconFolded = 0,
  kLexiconCode = 1,
  kLexiconMultiply = 2,
  kLexiconAdd = 3,
  kLexiconHead = 4,
  kLexiconHeadMultiply = 5,
  kLexiconEnds = 6,
  kLexiconTail = 7,
  kLexiconSize = 8,
  kLexiconRows = 9,
};

enum Register {
  kRegisterWord = 6,
  kRegisterLastWord = 7,
  kRegisterBytes = 8,
  kRegisterCount = 9,
  kRegisterMatchAt = 10,
  kRegisterMatchLength = 11,
  kRegisterRows = 12,
};

enum Mode {
  kModeGiven = 0,
  kModeSampled = 1,
  kModeDecoded = 2,
  kModeRows = 3,
};

enum Field {
  kFieldToken1 = 0,
  kFieldToken2 = 1,
  kFieldToken3 = 2,
  kFieldToken4 = 3,
  kFieldToken5 = 4,
  kFieldToken6 = 5,
  kFieldFolded1 = 6,
  kFieldFolded2 = 7,
  kFieldFolded3 = 8,
  kFieldClass61 = 9,
  kFieldClass62 = 10,
  kFieldClass63 = 11,
  kFieldClass91 = 12,
  kFieldClass92 = 13,
  kFieldClass93 = 14,
  kFieldClass121 = 15,
  kFieldClass122 = 16,
  kFieldClass123 = 17,
  kFieldWord = 18,
  kFieldLastWord = 19,
  kFieldBytes3 = 20,
  kFieldRows = 21,
};

}  // namespace chain
}  // namespace wnn
