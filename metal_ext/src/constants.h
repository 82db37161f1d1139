// Made by metal_ext/constants.py from wnn_jax: change it there.

#pragma once

#include <cstdint>

namespace wnn {

constexpr int64_t kMaxBits = 24;
constexpr int64_t kMaxWords = 32;

namespace chain {

constexpr int kBucket = 4;
constexpr int kFastLimit = 2;
constexpr int kFastMost = 255;
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
constexpr int kSincePunctuationMost = 12;
constexpr int kSinceQuoteMost = 8;
constexpr int kColumnMost = 255;
constexpr int kLineBytes = 256;
constexpr int kTitleTokens = 2;
constexpr int kTitleBytes = 64;
constexpr int kStack = 16;
constexpr int kOpenBrackets = 3;
constexpr int kFollowedKeys = 5;
constexpr int kFollowedLog = 18;
constexpr int kMostNeurons = 256;
constexpr double kSmooth = 0.4;
constexpr int kHitNeurons = 6;
constexpr int kHits = 128;
constexpr int kClasses = 65;
constexpr float kRange = 13.0f;
constexpr float kLeast = 2e-06f;
constexpr int kRefineSteps = 33;
constexpr float kRefineWidth = 0.75f;
constexpr float kRefineEdge = 15.99f;
constexpr float kRefineRate = 0.02f;
constexpr int kWideCell = 4;
constexpr int kCountMost = 65535;
constexpr int kFadingOne = 256;
constexpr int kFadingMost = 65000;
constexpr float kFadingSmooth = 25.0f;
constexpr int kTickLog = 2;
constexpr int kDecay[] = {65536, 65359, 65182, 65006, 64830, 64655, 64480, 64306, 64132, 63958, 63785, 63613, 63441, 63269, 63098, 62928, 62757, 62588, 62419, 62250, 62081, 61914, 61746, 61579, 61413, 61247, 61081, 60916, 60751, 60587, 60423, 60260, 60097, 59934, 59772, 59611, 59449, 59289, 59128, 58968, 58809, 58650, 58491, 58333, 58176, 58018, 57861, 57705, 57549, 57393, 57238, 57083, 56929, 56775, 56622, 56468, 56316, 56163, 56012, 55860, 55709, 55558, 55408, 55258, 55109, 54960, 54811, 54663, 54515, 54368, 54221, 54074, 53928, 53782, 53637, 53492, 53347, 53203, 53059, 52916, 52773, 52630, 52488, 52346, 52204, 52063, 51922, 51782, 51642, 51502, 51363, 51224, 51085, 50947, 50810, 50672, 50535, 50399, 50262, 50126, 49991, 49856, 49721, 49586, 49452, 49319, 49185, 49052, 48920, 48787, 48655, 48524, 48393, 48262, 48131, 48001, 47871, 47742, 47613, 47484, 47356, 47228, 47100, 46973, 46846, 46719, 46593, 46467, 46341, 46216, 46091, 45966, 45842, 45718, 45594, 45471, 45348, 45225, 45103, 44981, 44859, 44738, 44617, 44497, 44376, 44256, 44137, 44017, 43898, 43780, 43661, 43543, 43425, 43308, 43191, 43074, 42958, 42841, 42726, 42610, 42495, 42380, 42265, 42151, 42037, 41923, 41810, 41697, 41584, 41472, 41360, 41248, 41136, 41025, 40914, 40804, 40693, 40583, 40473, 40364, 40255, 40146, 40037, 39929, 39821, 39714, 39606, 39499, 39392, 39286, 39180, 39074, 38968, 38863, 38757, 38653, 38548, 38444, 38340, 38236, 38133, 38030, 37927, 37824, 37722, 37620, 37518, 37417, 37316, 37215, 37114, 37014, 36914, 36814, 36715, 36615, 36516, 36417, 36319, 36221, 36123, 36025, 35928, 35831, 35734, 35637, 35541, 35445, 35349, 35253, 35158, 35063, 34968, 34874, 34779, 34685, 34591, 34498, 34405, 34312, 34219, 34126, 34034, 33942, 33850, 33759, 33667, 33576, 33486, 33395, 33305, 33215, 33125, 33035, 32946, 32857};
constexpr int kFastEdges[] = {1, 2, 3, 4, 7, 15};
constexpr int kFastSteps = 7;
constexpr int kAgeEdges[] = {3, 10, 33, 100, 325, 1250, 5000};
constexpr int kAges = 8;
constexpr int kZones = 16;
constexpr int kMapStates = 25088;
constexpr int kMapLimit = 1023;
constexpr float kMapLeast = 0.0005f;
constexpr int kRunMost = 31;
constexpr int kRunStates = 1024;
constexpr int kListed = 7;
constexpr int kListWords = 8;
constexpr int kListKey = 20817;
constexpr float kListSmooth = 0.3f;
constexpr int kListMost = 255;
constexpr int kMatches = 3;
constexpr int kMatchOrders[] = {3, 6, 2};
constexpr int kMatchLongest = 40;
constexpr int kMatchEdges[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32};
constexpr int kMatchSteps = 13;
constexpr int kMatchPlacesLog = 20;
constexpr int kMatchStates = 416;
constexpr float kMatchSlowest = 0.002f;
constexpr float kMatchLeast = 0.001f;
constexpr float kMatchTrust = 0.8f;
constexpr float kMatchProbable = 0.9998f;
constexpr int kRecencies = 3;
constexpr int kRecentShifts[] = {1, -1, -4};
constexpr float kRecentSmooth = 0.2f;
constexpr float kRate = 0.03f;
constexpr float kMatchWeight = 0.15f;
constexpr float kBias = 0.3f;
constexpr int kFinals = 8;
constexpr float kFinalRateLeast = 0.0015f;
constexpr float kFinalRateMore = 0.0085f;
constexpr float kFinalRateHalf = 1000.0f;
constexpr int kTokenRowsLog = 11;
constexpr int kTopKinds = 1024;
constexpr int kMatchKinds = 96;
constexpr int kSeenSteps = 32;
constexpr int kRefinements = 5;
constexpr int kRefinedLog = 16;
constexpr float kMixedShare = 0.3f;
constexpr int kSetRows[] = {1, 128, 4160, 130, 130, 96, 64, 512, 513, 128, 2048, 512, 256, 4096, 16416};
constexpr int kFinalSets[] = {0, 2, 5, 3, 6, 1, 4, 10};
constexpr int kRegisters = 48;
constexpr int kStaticCell = 4;
constexpr int kOrders = 5;
constexpr int kDiscountUnit = 1024;
constexpr float kOddsMost = 12.0f;
constexpr float kLeastMass = 1e-30f;
constexpr float kStaticConstant = 0.3f;
constexpr int kTotalEdges[] = {1, 4, 30};
constexpr int kStaticRows[] = {1, 64, 64, 512, 384, 1024, 128, 128};
constexpr int kStaticFinals[] = {0, 5, 3, 4};
constexpr int kStaticFinalCount = 4;

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
  kFlagPunctuation = 2048,
  kFlagRows = 2049,
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
  kRegisterPunctuation = 37,
  kRegisterSincePunctuation = 38,
  kRegisterSinceQuote = 39,
  kRegisterBeforeQuote = 40,
  kRegisterLastBytes = 41,
  kRegisterBytesBefore = 42,
  kRegisterStack = 43,
  kRegisterLineHash = 44,
  kRegisterLineLetter = 45,
  kRegisterLineRow = 46,
  kRegisterColumnsBefore = 47,
  kRegisterRows = 48,
};

enum Mode {
  kModeGiven = 0,
  kModeSampled = 1,
  kModeDecoded = 2,
  kModeRows = 3,
};

enum WeightSet {
  kWeightSetOne = 0,
  kWeightSetHits = 1,
  kWeightSetKind = 2,
  kWeightSetClass1 = 3,
  kWeightSetClass2 = 4,
  kWeightSetMatch = 5,
  kWeightSetDepth = 6,
  kWeightSetSeen = 7,
  kWeightSetClass9 = 8,
  kWeightSetShape = 9,
  kWeightSetToken = 10,
  kWeightSetByte = 11,
  kWeightSetByteBefore = 12,
  kWeightSetShapeDepth = 13,
  kWeightSetKindClass = 14,
  kWeightSetRows = 15,
};

enum StaticSet {
  kStaticSetOne = 0,
  kStaticSetHits = 1,
  kStaticSetDepth = 2,
  kStaticSetMany = 3,
  kStaticSetOrder = 4,
  kStaticSetTotals = 5,
  kStaticSetShape1 = 6,
  kStaticSetShape2 = 7,
  kStaticSetRows = 8,
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
  kFieldPunctuation = 66,
  kFieldSincePunctuation = 67,
  kFieldSinceQuote = 68,
  kFieldBeforeQuote = 69,
  kFieldExpected = 70,
  kFieldExpectedStrength = 71,
  kFieldRows = 72,
};

}  // namespace chain
}  // namespace wnn
