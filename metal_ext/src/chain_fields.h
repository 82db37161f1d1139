// The fields of a place in a text: the facts that context neurons observe. wnn_jax/chain/fields.py explains
// them. All facts about one token come from the lexicon, so there are no rules about text here.

#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "chain_types.h"
#include "constants.h"

namespace wnn {
namespace chain {

// What is known of a text. Any content is safe as long as the first kRecent registers are at most the number
// of ids.
struct TextState {
  uint32_t* registers;  // [kRegisters]
  uint32_t* followed;   // [kFollowedKeys, 2^kFollowedLog, 2]: the last two tokens that followed each key
  uint32_t* line;       // [2, kLineBytes]: the tokens that cover the columns of this line and the one before
};

class TextFields {
 public:
  // `lexicon` is [V, kLexiconRows].
  TextFields(const uint32_t* lexicon, const TextState& state) : lexicon_(lexicon), state_(state) {}

  // Computes the fields [kFieldRows] of the place after the last token.
  void Read(uint32_t* fields) const {
    const uint32_t* r = state_.registers;
    for (int k = 0; k < kRecent; ++k) fields[kFieldToken1 + k] = r[k];
    for (int k = 0; k < kFolded; ++k) {
      const uint32_t* token = Row(r[k]);
      const uint32_t code = r[k] ? token[kLexiconCode] : 0, there = r[k] != 0;
      fields[kFieldFolded1 + k] = r[k] ? token[kLexiconFolded] + 1 : 0;
      fields[kFieldClass61 + k] = (code >> (kCodeBits - kClassBits[0])) + there;
      fields[kFieldClass91 + k] = (code >> (kCodeBits - kClassBits[1])) + there;
      fields[kFieldClass121 + k] = (code >> (kCodeBits - kClassBits[2])) + there;
    }
    for (int k = 0; k < kShaped; ++k) {
      fields[kFieldShape1 + k] = r[k] ? Row(r[k])[kLexiconShape] : 0;
      fields[kFieldSuffix1 + k] = r[k] ? Row(r[k])[kLexiconSuffix] : 0;
    }
    const uint32_t last = r[kRegisterLastBytes], before = r[kRegisterBytesBefore];
    for (int k = 0; k < 3; ++k) fields[kFieldBytes1 + k] = last & ((1u << (8 * k + 8)) - 1);
    fields[kFieldBytes4] = last;
    fields[kFieldBytes5] = Mix(last, before & 0xFF);
    fields[kFieldBytes6] = Mix(last, before & 0xFFFF);
    fields[kFieldBrackets] = r[kRegisterStack] & ((1u << (2 * kOpenBrackets)) - 1);
    static_assert(kFieldBeforeQuote - kFieldWord == kRegisterBeforeQuote - kRegisterWord,
                  "registers follow the fields");
    for (int k = 0; k <= kFieldBeforeQuote - kFieldWord; ++k) fields[kFieldWord + k] = r[kRegisterWord + k];
    // Only a model that learns while it reads has matches; it fills these fields in itself.
    fields[kFieldExpected] = fields[kFieldExpectedStrength] = 0;
  }

  // Remembers a token after it was read.
  void Remember(int32_t token) {
    uint32_t* r = state_.registers;
    const uint32_t* facts = lexicon_ + static_cast<int64_t>(token) * kLexiconRows;
    const uint32_t name = static_cast<uint32_t>(token) + 1, flags = facts[kLexiconFlags];
    WriteFollowed(name);
    AddWord(facts);
    AddBytes(facts);
    if (flags & kFlagContent) {
      r[kRegisterContent3] = r[kRegisterContent2];
      r[kRegisterContent2] = r[kRegisterContent1];
      r[kRegisterContent1] = name;
    } else {
      r[kRegisterFunction2] = r[kRegisterFunction1];
      r[kRegisterFunction1] = name;
    }
    if (flags & kFlagCapital) r[kRegisterCapital] = name;
    if (flags & kFlagNumber) r[kRegisterNumber] = name;
    if (flags & kFlagBreak) EndLine(facts, name);
    GoOn(facts, name);
    Mark(facts);
    for (int k = kRecent - 1; k > 0; --k) r[k] = r[k - 1];
    r[0] = name;
    ReadFollowed();
    const uint32_t column = r[kRegisterColumn];
    r[kRegisterAbove] = column < r[kRegisterColumnsBefore] && column < kLineBytes
                            ? state_.line[(1 - (r[kRegisterLineRow] & 1)) * kLineBytes + column]
                            : 0;
  }

 private:
  // The facts of a register's token; those of id 0 if there is none.
  const uint32_t* Row(uint32_t name) const {
    return lexicon_ + (name ? static_cast<int64_t>(name) - 1 : 0) * kLexiconRows;
  }

  // The entries of the keys of this place: a key knows the last two tokens that followed it.
  void Keys(uint32_t** entries) const {
    const uint32_t* r = state_.registers;
    constexpr int kShift = 32 - kFollowedLog;
    uint32_t class9[2];
    for (int k = 0; k < 2; ++k)
      class9[k] = r[k] ? (Row(r[k])[kLexiconCode] >> (kCodeBits - kClassBits[1])) + 1 : 0;
    const uint32_t keys[kFollowedKeys] = {
        r[0] & ((1u << kFollowedLog) - 1), Mix(r[0], r[1]) >> kShift, Mix(class9[0], class9[1]) >> kShift,
        Mix(1, r[kRegisterWord]) >> kShift, Mix(r[kRegisterWord], r[kRegisterLastWord]) >> kShift};
    for (int k = 0; k < kFollowedKeys; ++k)
      entries[k] = state_.followed + ((static_cast<int64_t>(k) << kFollowedLog) + keys[k]) * 2;
  }

  void WriteFollowed(uint32_t name) {
    const uint32_t* r = state_.registers;
    if (!r[0]) return;
    uint32_t* entries[kFollowedKeys];
    Keys(entries);
    constexpr int kLatest[] = {kRegisterNextToken1, kRegisterNextPair, kRegisterNextClass, kRegisterNextWord,
                               kRegisterNextWord2};
    for (int k = 0; k < kFollowedKeys; ++k) {
      entries[k][1] = r[kLatest[k]];
      entries[k][0] = name;
    }
  }

  void ReadFollowed() {
    uint32_t* r = state_.registers;
    uint32_t* entries[kFollowedKeys];
    Keys(entries);
    r[kRegisterNextToken1] = entries[0][0];
    r[kRegisterNextToken12] = entries[0][1];
    r[kRegisterNextPair] = entries[1][0];
    r[kRegisterNextPair2] = entries[1][1];
    r[kRegisterNextClass] = entries[2][0];
    r[kRegisterNextWord] = entries[3][0];
    r[kRegisterNextWord2] = entries[4][0];
  }

  void AddWord(const uint32_t* facts) {
    uint32_t* r = state_.registers;
    if (!facts[kLexiconEnds]) {
      r[kRegisterWord] = r[kRegisterWord] * facts[kLexiconMultiply] + facts[kLexiconAdd];
      return;
    }
    const uint32_t finished = r[kRegisterWord] * facts[kLexiconHeadMultiply] + facts[kLexiconHead];
    if (finished) {
      r[kRegisterLastWord3] = r[kRegisterLastWord2];
      r[kRegisterLastWord2] = r[kRegisterLastWord];
      r[kRegisterLastWord] = finished;
    }
    r[kRegisterWord] = facts[kLexiconAdd];
  }

  void AddBytes(const uint32_t* facts) {
    uint32_t* r = state_.registers;
    const uint64_t known = static_cast<uint64_t>(r[kRegisterBytesBefore]) << 32 | r[kRegisterLastBytes];
    const uint64_t added = static_cast<uint64_t>(facts[kLexiconBytesBefore]) << 32 | facts[kLexiconLastBytes];
    const uint64_t all = known << (8 * std::min(facts[kLexiconSize], 6u)) | added;
    r[kRegisterLastBytes] = static_cast<uint32_t>(all);
    r[kRegisterBytesBefore] = static_cast<uint32_t>(all >> 32) & 0xFFFF;
  }

  // Covers the next columns of a line with a token, and returns the number of columns after it.
  uint32_t Cover(uint32_t row, uint32_t from, uint32_t size, uint32_t name) {
    const uint32_t begin = std::min(from, static_cast<uint32_t>(kColumnMost));
    const uint32_t end = begin + std::min(size, static_cast<uint32_t>(kLineBytes));
    uint32_t* line = state_.line + (row & 1) * kLineBytes;
    for (uint32_t i = begin; i < end && i < static_cast<uint32_t>(kLineBytes); ++i) line[i] = name;
    return std::min(end, static_cast<uint32_t>(kColumnMost));
  }

  static uint32_t Indent(uint32_t known, uint32_t more) {
    return std::min(std::min(known, static_cast<uint32_t>(kColumnMost)) +
                        std::min(more, static_cast<uint32_t>(kLineBytes)),
                    static_cast<uint32_t>(kColumnMost));
  }

  // Ends the line with the head of a token, takes a whole line within the token, and begins a line.
  void EndLine(const uint32_t* facts, uint32_t name) {
    uint32_t* r = state_.registers;
    const uint32_t flags = facts[kLexiconFlags];
    const bool filled = flags & kFlagHeadFilled, letter = r[kRegisterLineLetter] || (flags & kFlagHeadLetter);
    if (r[kRegisterLinePlace])
      r[kRegisterIndentBefore] = r[kRegisterIndent];
    else if (filled)
      r[kRegisterIndentBefore] = Indent(r[kRegisterIndent], facts[kLexiconHeadIndent]);
    if (facts[kLexiconMiddleIndent]) r[kRegisterIndentBefore] = Indent(0, facts[kLexiconMiddleIndent] - 1);
    r[kRegisterColumnsBefore] =
        Cover(r[kRegisterLineRow], r[kRegisterColumn], facts[kLexiconHeadSize], name);
    const uint32_t tokens = std::min(r[kRegisterLinePlace], static_cast<uint32_t>(kLinePlaceMost)) + filled;
    if (letter && tokens >= kTitleTokens && r[kRegisterColumnsBefore] <= kTitleBytes)
      r[kRegisterTitle] = filled ? Mix(r[kRegisterLineHash], name) : r[kRegisterLineHash];
    if (flags & kFlagLine)
      r[kRegisterColumnsBefore] = Cover(r[kRegisterLineRow], 0, facts[kLexiconMiddleSize], name);
    r[kRegisterLineRow] = 1 - (r[kRegisterLineRow] & 1);
    for (int k : {kRegisterColumn, kRegisterLinePlace, kRegisterLineHash, kRegisterLineLetter, kRegisterParagraph,
                  kRegisterSentence, kRegisterSentencePlace, kRegisterIndent, kRegisterLineStart,
                  kRegisterPunctuation, kRegisterSincePunctuation})
      r[k] = 0;
  }

  // Goes on in the line with the tail of a token.
  void GoOn(const uint32_t* facts, uint32_t name) {
    uint32_t* r = state_.registers;
    const uint32_t flags = facts[kLexiconFlags];
    r[kRegisterColumn] = Cover(r[kRegisterLineRow], r[kRegisterColumn], facts[kLexiconTailSize], name);
    const uint32_t place = r[kRegisterLinePlace];
    if (!place) r[kRegisterIndent] = Indent(r[kRegisterIndent], facts[kLexiconTailIndent]);
    if (flags & kFlagFilled) {
      if (!place) r[kRegisterParagraph] = name;
      if (place == 1) r[kRegisterParagraph] = Mix(r[kRegisterParagraph], name);
      if (!place || (flags & kFlagBegins)) r[kRegisterLineStart] = name;
      r[kRegisterLineHash] = Mix(r[kRegisterLineHash], name);
      r[kRegisterLineLetter] |= (flags & kFlagLetter) != 0;
      Count(kRegisterLinePlace, kLinePlaceMost);
      if (!r[kRegisterSentencePlace]) r[kRegisterSentence] = name;
      Count(kRegisterSentencePlace, kSentencePlaceMost);
      Count(kRegisterSincePunctuation, kSincePunctuationMost);
      if (flags & kFlagPunctuation) {
        r[kRegisterPunctuation] = name;
        r[kRegisterSincePunctuation] = 0;
      }
    }
    if (flags & kFlagSentence) r[kRegisterSentence] = r[kRegisterSentencePlace] = 0;
  }

  void Count(int which, uint32_t most) {
    if (state_.registers[which] < most) state_.registers[which] += 1;
  }

  // Follows quotes and brackets. The last token before is still in the first register.
  void Mark(const uint32_t* facts) {
    uint32_t* r = state_.registers;
    // The state of quotes and that of brackets are bits; each has a map from the old bit to the new one.
    const uint32_t was = r[kRegisterQuote], maps = facts[kLexiconQuotes];
    const uint32_t quote = (maps >> (was & 1) & 1) | (maps >> (2 + (was >> 1 & 1)) & 1) << 1;
    r[kRegisterQuote] = quote;
    if (quote == was)
      Count(kRegisterSinceQuote, kSinceQuoteMost);
    else
      r[kRegisterSinceQuote] = 0;
    if (quote & ~was) r[kRegisterBeforeQuote] = r[0];
    if (!quote) r[kRegisterBeforeQuote] = 0;
    r[kRegisterStack] = Pushed(Popped(r[kRegisterStack], facts[kLexiconClosed]), facts);
  }

  static uint32_t Popped(uint32_t stack, uint32_t count) { return count < kStack ? stack >> (2 * count) : 0; }

  static uint32_t Pushed(uint32_t stack, const uint32_t* facts) {
    const uint32_t count = facts[kLexiconOpenedCount];
    return (count < kStack ? stack << (2 * count) : 0) | facts[kLexiconOpened];
  }

  const uint32_t* lexicon_;
  TextState state_;
};

}  // namespace chain
}  // namespace wnn
