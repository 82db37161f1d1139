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
constexpr int kRecent = 8;
constexpr int kFolded = 4;
constexpr int kClassBits[] = {6, 9, 12};
constexpr int kShaped = 3;
constexpr int kShapes = 64;
constexpr int kSpelled = 6;
constexpr int kLinePlaceMost = 8;
constexpr int kSentencePlaceMost = 20;
constexpr int kColumnMost = 255;
constexpr int kLineBytes = 256;
constexpr int kTitleTokens = 2;
constexpr int kTitleBytes = 64;
constexpr int kStack = 16;
constexpr int kOpenBrackets = 3;
constexpr int kFollowedKeys = 5;
constexpr int kFollowedLog = 18;
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
constexpr int kRegisters = 47;

enum Lexicon {
  kLexiconFolded = 0,
  kLexiconCode = 1,
  kLexiconMultiply = 2,
  kLexiconAdd = 3,
  kLexiconHead = 4,
  kLexiconHeadMultiply = 5,
  kLexiconEnds = 6,
  kLexiconLastBytes = 7,
  kLexiconBytesBefore = 8,
  kLexiconSize = 9,
  kLexiconShape = 10,
  kLexiconSuffix = 11,
  kLexiconFlags = 12,
  kLexiconQuotes = 13,
  kLexiconClosed = 14,
  kLexiconOpened = 15,
  kLexiconOpenedCount = 16,
  kLexiconHeadSize = 17,
  kLexiconMiddleSize = 18,
  kLexiconTailSize = 19,
  kLexiconHeadIndent = 20,
  kLexiconMiddleIndent = 21,
  kLexiconTailIndent = 22,
  kLexiconRows = 23,
};

enum Flag {
  kFlagContent = 1,
  kFlagCapital = 2,
  kFlagNumber = 4,
  kFlagSentence = 8,
  kFlagBegins = 16,
  kFlagBreak = 32,
  kFlagLine = 64,
  kFlagHeadFilled = 128,
  kFlagHeadLetter = 256,
  kFlagFilled = 512,
  kFlagLetter = 1024,
  kFlagRows = 1025,
};

enum Register {
  kRegisterWord = 8,
  kRegisterLastWord = 9,
  kRegisterLastWord2 = 10,
  kRegisterLastWord3 = 11,
  kRegisterContent1 = 12,
  kRegisterContent2 = 13,
  kRegisterContent3 = 14,
  kRegisterFunction1 = 15,
  kRegisterFunction2 = 16,
  kRegisterCapital = 17,
  kRegisterNumber = 18,
  kRegisterTitle = 19,
  kRegisterParagraph = 20,
  kRegisterLinePlace = 21,
  kRegisterSentence = 22,
  kRegisterSentencePlace = 23,
  kRegisterQuote = 24,
  kRegisterIndent = 25,
  kRegisterIndentBefore = 26,
  kRegisterColumn = 27,
  kRegisterAbove = 28,
  kRegisterLineStart = 29,
  kRegisterNextToken1 = 30,
  kRegisterNextToken12 = 31,
  kRegisterNextPair = 32,
  kRegisterNextPair2 = 33,
  kRegisterNextClass = 34,
  kRegisterNextWord = 35,
  kRegisterNextWord2 = 36,
  kRegisterLastBytes = 37,
  kRegisterBytesBefore = 38,
  kRegisterStack = 39,
  kRegisterLineHash = 40,
  kRegisterLineLetter = 41,
  kRegisterLineRow = 42,
  kRegisterColumnsBefore = 43,
  kRegisterCount = 44,
  kRegisterMatchAt = 45,
  kRegisterMatchLength = 46,
  kRegisterRows = 47,
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
  kFieldToken7 = 6,
  kFieldToken8 = 7,
  kFieldFolded1 = 8,
  kFieldFolded2 = 9,
  kFieldFolded3 = 10,
  kFieldFolded4 = 11,
  kFieldClass61 = 12,
  kFieldClass62 = 13,
  kFieldClass63 = 14,
  kFieldClass64 = 15,
  kFieldClass91 = 16,
  kFieldClass92 = 17,
  kFieldClass93 = 18,
  kFieldClass94 = 19,
  kFieldClass121 = 20,
  kFieldClass122 = 21,
  kFieldClass123 = 22,
  kFieldClass124 = 23,
  kFieldShape1 = 24,
  kFieldShape2 = 25,
  kFieldShape3 = 26,
  kFieldSuffix1 = 27,
  kFieldSuffix2 = 28,
  kFieldSuffix3 = 29,
  kFieldBytes1 = 30,
  kFieldBytes2 = 31,
  kFieldBytes3 = 32,
  kFieldBytes4 = 33,
  kFieldBytes5 = 34,
  kFieldBytes6 = 35,
  kFieldBrackets = 36,
  kFieldWord = 37,
  kFieldLastWord = 38,
  kFieldLastWord2 = 39,
  kFieldLastWord3 = 40,
  kFieldContent1 = 41,
  kFieldContent2 = 42,
  kFieldContent3 = 43,
  kFieldFunction1 = 44,
  kFieldFunction2 = 45,
  kFieldCapital = 46,
  kFieldNumber = 47,
  kFieldTitle = 48,
  kFieldParagraph = 49,
  kFieldLinePlace = 50,
  kFieldSentence = 51,
  kFieldSentencePlace = 52,
  kFieldQuote = 53,
  kFieldIndent = 54,
  kFieldIndentBefore = 55,
  kFieldColumn = 56,
  kFieldAbove = 57,
  kFieldLineStart = 58,
  kFieldNextToken1 = 59,
  kFieldNextToken12 = 60,
  kFieldNextPair = 61,
  kFieldNextPair2 = 62,
  kFieldNextClass = 63,
  kFieldNextWord = 64,
  kFieldNextWord2 = 65,
  kFieldRows = 66,
};

}  // namespace chain
}  // namespace wnn
