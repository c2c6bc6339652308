#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"
#include "sidecar/mask/text_masks.h"
#include "sidecar/mask/years.h"

namespace postern::mask {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

constexpr sql::Oid kTextOid = 25;
constexpr sql::Oid kNameOid = 19;
constexpr sql::Oid kBpcharOid = 1042;
constexpr sql::Oid kInt4Oid = 23;
constexpr sql::Oid kUuidOid = 2950;
constexpr sql::Oid kDateOid = 1082;
constexpr sql::Oid kTimestampOid = 1114;
constexpr sql::Oid kTimestampTzOid = 1184;
constexpr sql::Oid kJsonbOid = 3802;
constexpr sql::Oid kInt4ArrayOid = 1007;
constexpr sql::Oid kEnumOid = 16999;

constexpr v1::MaskStrategy kAllStrategies[] = {
    v1::MASK_STRATEGY_NULL,    v1::MASK_STRATEGY_REDACT,       v1::MASK_STRATEGY_HASH, v1::MASK_STRATEGY_LAST4,
    v1::MASK_STRATEGY_PARTIAL, v1::MASK_STRATEGY_EMAIL_DOMAIN, v1::MASK_STRATEGY_YEAR};

const Masker& TheMasker() {
  static const Masker masker("a key of the test");
  return masker;
}

// nullopt: NULL.
std::optional<std::string> Mask(v1::MaskStrategy strategy, sql::Oid type, int16_t format, std::string_view value) {
  std::string out = "before";
  if (!TheMasker().Mask(strategy, type, format, value, &out)) return std::nullopt;
  EXPECT_THAT(out, StartsWith("before"));
  return out.substr(6);
}

struct TextCase {
  const char* name;
  v1::MaskStrategy strategy;
  const char* value;
  const char* expected;
};

class TextMasks : public testing::TestWithParam<TextCase> {};

TEST_P(TextMasks, KeepWhatTheirStrategySays) {
  const TextCase& c = GetParam();
  for (const int16_t format : {int16_t{0}, int16_t{1}}) {
    EXPECT_EQ(Mask(c.strategy, kTextOid, format, c.value), c.expected);
  }
  EXPECT_TRUE(Masker::IsSentinel(c.expected));
}

INSTANTIATE_TEST_SUITE_P(
    All, TextMasks,
    testing::Values(TextCase{"Redact", v1::MASK_STRATEGY_REDACT, "ann@example.com", "[redacted]"},
                    TextCase{"RedactOfEmpty", v1::MASK_STRATEGY_REDACT, "", "[redacted]"},
                    TextCase{"Last4", v1::MASK_STRATEGY_LAST4, "4111111111111234", "****1234"},
                    TextCase{"Last4OfSeven", v1::MASK_STRATEGY_LAST4, "1234567", "****"},
                    TextCase{"Last4OfEight", v1::MASK_STRATEGY_LAST4, "12345678", "****5678"},
                    TextCase{"Last4CountsCharacters", v1::MASK_STRATEGY_LAST4, "žluťoučký", "****učký"},
                    TextCase{"Last4OfEmpty", v1::MASK_STRATEGY_LAST4, "", "****"},
                    TextCase{"Last4OfInvalidUtf8", v1::MASK_STRATEGY_LAST4, "12345678\xff\xfe", "****"},
                    TextCase{"Partial", v1::MASK_STRATEGY_PARTIAL, "Johnson", "J***n"},
                    TextCase{"PartialOfThree", v1::MASK_STRATEGY_PARTIAL, "Ann", "***"},
                    TextCase{"PartialOfCharacters", v1::MASK_STRATEGY_PARTIAL, "日本語文字", "日***字"},
                    TextCase{"PartialOfInvalidUtf8", v1::MASK_STRATEGY_PARTIAL, "\xc3(abcd", "***"},
                    TextCase{"EmailDomain", v1::MASK_STRATEGY_EMAIL_DOMAIN, "ann@example.com", "***@example.com"},
                    TextCase{"EmailDomainAfterTheLastAt", v1::MASK_STRATEGY_EMAIL_DOMAIN, "\"a@b\"@x.org", "***@x.org"},
                    TextCase{"EmailDomainOfProse", v1::MASK_STRATEGY_EMAIL_DOMAIN, "me@home is where I sleep",
                             "[redacted]"},
                    TextCase{"EmailDomainWithoutAt", v1::MASK_STRATEGY_EMAIL_DOMAIN, "ann", "[redacted]"},
                    TextCase{"EmailDomainOfBareDomain", v1::MASK_STRATEGY_EMAIL_DOMAIN, "@handle", "[redacted]"},
                    TextCase{"EmailDomainOfNothing", v1::MASK_STRATEGY_EMAIL_DOMAIN, "ann@", "[redacted]"},
                    TextCase{"YearOfText", v1::MASK_STRATEGY_YEAR, "2023-05-17", "[redacted]"}),
    [](const auto& param) { return param.param.name; });

TEST(Masker, NullStrategyIsNullForEveryType) {
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_NULL, kTextOid, 0, "x"), std::nullopt);
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_NULL, kInt4Oid, 1, "\0\0\0\7"), std::nullopt);
}

TEST(Masker, UnknownStrategyIsNull) {
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_UNSPECIFIED, kTextOid, 0, "x"), std::nullopt);
  EXPECT_EQ(Mask(static_cast<v1::MaskStrategy>(99), kTextOid, 0, "x"), std::nullopt);
}

TEST(Masker, UnknownTypeAndUnknownFormatAreNull) {
  for (const v1::MaskStrategy strategy : kAllStrategies) {
    EXPECT_EQ(Mask(strategy, kEnumOid, 0, "secret"), std::nullopt);
    EXPECT_EQ(Mask(strategy, kTextOid, 2, "secret"), std::nullopt);
  }
}

TEST(Masker, HashIsStableKeyedAndRecognised) {
  const auto a = Mask(v1::MASK_STRATEGY_HASH, kTextOid, 0, "ann@example.com");
  ASSERT_TRUE(a.has_value());
  EXPECT_THAT(*a, MatchesRegex("h_[0-9a-f]+"));
  EXPECT_EQ(a->size(), 26U);
  EXPECT_EQ(a, Mask(v1::MASK_STRATEGY_HASH, 1043, 1, "ann@example.com"));
  EXPECT_NE(a, Mask(v1::MASK_STRATEGY_HASH, kTextOid, 0, "bob@example.com"));
  EXPECT_TRUE(Masker::IsSentinel(*a));
  std::string other;
  ASSERT_TRUE(Masker("another key").Mask(v1::MASK_STRATEGY_HASH, kTextOid, 0, "ann@example.com", &other));
  EXPECT_NE(*a, other);
}

TEST(Masker, HashWithoutKeyIsRedact) {
  const Masker keyless("");
  std::string out;
  ASSERT_TRUE(keyless.Mask(v1::MASK_STRATEGY_HASH, kTextOid, 0, "ann", &out));
  EXPECT_EQ(out, "[redacted]");
}

TEST(Masker, BlankPaddingDoesNotChangeAHash) {
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_HASH, kBpcharOid, 0, "AB   "), Mask(v1::MASK_STRATEGY_HASH, kTextOid, 0, "AB"));
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_LAST4, kBpcharOid, 0, "12345678    "), "****5678");
}

TEST(Masker, NamesStayWithinSixtyThreeBytes) {
  const std::string longest = "a@" + std::string(61, 'x');
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_EMAIL_DOMAIN, kNameOid, 1, longest), "[redacted]");
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_EMAIL_DOMAIN, kNameOid, 1, "a@x.org"), "***@x.org");
}

TEST(Masker, UuidHashIsTheSameUuidInBothFormats) {
  const auto text = Mask(v1::MASK_STRATEGY_HASH, kUuidOid, 0, "00112233-4455-6677-8899-aabbccddeeff");
  const auto binary = Mask(v1::MASK_STRATEGY_HASH, kUuidOid, 1,
                           std::string_view("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16));
  ASSERT_TRUE(text && binary);
  EXPECT_THAT(*text, MatchesRegex("6d61736b-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(binary->size(), 16U);
  EXPECT_EQ(static_cast<uint8_t>((*binary)[15]), std::stoi(text->substr(34), nullptr, 16));
  EXPECT_TRUE(Masker::IsSentinel(*text));
  EXPECT_TRUE(Masker::IsSentinel(*binary));
}

struct YearCase {
  sql::Oid type;
  const char* value;
  const char* expected;
};

TEST(Masker, YearOfTextInEveryDateStyle) {
  const YearCase cases[] = {
      {kDateOid, "2023-05-17", "2023-01-01"},
      {kDateOid, "17/05/2023", "2023-01-01"},
      {kDateOid, "05-17-2023", "2023-01-01"},
      {kDateOid, "17.05.2023", "2023-01-01"},
      {kDateOid, "0044-03-15 BC", "0044-01-01 BC"},
      {kDateOid, "12023-05-17", "12023-01-01"},
      {kDateOid, "infinity", "1970-01-01"},
      {kDateOid, "4714-12-31 BC", "1970-01-01"},
      {kDateOid, "nonsense", "1970-01-01"},
      {kTimestampOid, "2023-05-17 10:20:30.123456", "2023-01-01 00:00:00"},
      {kTimestampOid, "Wed May 17 10:20:30.123 2023", "2023-01-01 00:00:00"},
      {kTimestampOid, "0044-03-15 10:00:00 BC", "0044-01-01 00:00:00 BC"},
      {kTimestampTzOid, "2023-05-17 10:20:30.123456+02", "2023-01-01 00:00:00+00"},
      {kTimestampTzOid, "17/05/2023 10:20:30 CEST", "2023-01-01 00:00:00+00"},
      {kTimestampTzOid, "Wed May 17 10:20:30.123 2023 CEST", "2023-01-01 00:00:00+00"},
      {kTimestampTzOid, "-infinity", "1970-01-01 00:00:00+00"},
  };
  for (const YearCase& c : cases) EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, c.type, 0, c.value), c.expected) << c.value;
}

std::string Be32(int32_t value) {
  std::string bytes;
  AppendUint32(static_cast<uint32_t>(value), &bytes);
  return bytes;
}

std::string Be64(int64_t value) {
  std::string bytes;
  AppendUint64(static_cast<uint64_t>(value), &bytes);
  return bytes;
}

TEST(Masker, YearOfBinaryDates) {
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kDateOid, 1, Be32(8537)), Be32(8401));         // 2023-05-17 → 2023-01-01
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kDateOid, 1, Be32(8400)), Be32(8036));         // 2022-12-31 → 2022-01-01
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kDateOid, 1, Be32(-1)), Be32(-365));           // 1999-12-31 → 1999-01-01
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kDateOid, 1, Be32(INT32_MAX)), Be32(-10957));  // infinity
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kDateOid, 1, "abc"), Be32(-10957));
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kTimestampOid, 1, Be64(-1)), Be64(-365LL * 86'400'000'000));
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_YEAR, kTimestampTzOid, 1, Be64(INT64_MIN)), Be64(-946'684'800'000'000));
}

TEST(Years, DaysAndYearsAgreeOverTheWholeRange) {
  for (int64_t year = -4712; year < 12'000; ++year) {
    const int64_t first = DaysToYear(year);
    ASSERT_EQ(YearOfDays(static_cast<int32_t>(first)), year);
    ASSERT_EQ(YearOfDays(static_cast<int32_t>(first - 1)), year - 1);
  }
}

TEST(Masker, JsonbKeepsItsVersionByte) {
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_REDACT, kJsonbOid, 0, "{\"a\":1}"), "\"[redacted]\"");
  const auto binary = Mask(v1::MASK_STRATEGY_REDACT, kJsonbOid, 1, "\x01{\"a\":1}");
  EXPECT_EQ(binary, "\x01\"[redacted]\"");
  EXPECT_TRUE(Masker::IsSentinel(*binary));
}

TEST(Masker, EmptyArrayRepeatsTheElementType) {
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_REDACT, kInt4ArrayOid, 0, "{1,2}"), "{}");
  const std::string array = Be32(1) + Be32(0) + Be32(23) + Be32(1) + Be32(1) + Be32(4) + Be32(7);
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_REDACT, kInt4ArrayOid, 1, array), Be32(0) + Be32(0) + Be32(23));
  EXPECT_EQ(Mask(v1::MASK_STRATEGY_REDACT, kInt4ArrayOid, 1, "short"), std::nullopt);
}

TEST(Masker, OrdinaryValuesAreNotSentinels) {
  for (const char* value : {"", "0", "f", "ann@example.com", "1970-01-01", "redacted", "*", "**", "*****", "h_xyz",
                            "h_0123456789abcdef0123456", "a ** b", "****12345", "dear [redacted]", "jo***hn",
                            "00112233-4455-6677-8899-aabbccddeeff"}) {
    EXPECT_FALSE(Masker::IsSentinel(value)) << value;
  }
}

TEST(Masker, SentinelsAreSeenThroughBlanksAndCase) {
  for (const char* value : {" [redacted] ", "***@example.com", "***@", "****", "****1234", "J***n", "\"[redacted]\"",
                            "6D61736B-0000-8000-8000-000000000000", "\\x5b72656461637465645d"}) {
    EXPECT_TRUE(Masker::IsSentinel(value)) << value;
  }
}

// Longest run of `value`'s bytes that a strategy may leave in text.
size_t Allowance(v1::MaskStrategy strategy, std::string_view value) {
  switch (strategy) {
    case v1::MASK_STRATEGY_LAST4:
      return 16;  // four characters of up to four bytes
    case v1::MASK_STRATEGY_PARTIAL:
      return 4;
    case v1::MASK_STRATEGY_EMAIL_DOMAIN:
      return value.size() - (value.rfind('@') == std::string_view::npos ? value.size() : value.rfind('@'));
    default:
      return 0;
  }
}

// Property: whatever the value, no longer piece of it than the strategy allows comes out. Values are made of characters
// that no mask constant contains, so that what is found is the value's.
TEST(Masker, NoMoreOfTheValueComesOutThanTheStrategyAllows) {
  std::mt19937 random(20240517);
  const std::string_view alphabet[] = {"Q", "W", "X", "Z", "@", ".", "é", "漢", "😀", "\xff"};
  for (int round = 0; round < 20'000; ++round) {
    std::string value;
    for (size_t length = random() % 24; length > 0; --length) value += alphabet[random() % std::size(alphabet)];
    for (const v1::MaskStrategy strategy : kAllStrategies) {
      const auto masked = Mask(strategy, kTextOid, 0, value);
      if (!masked) continue;
      const size_t allowed = Allowance(strategy, value);
      for (size_t at = 0; at + allowed < value.size(); ++at) {
        const std::string piece = value.substr(at, allowed + 1);
        if (piece == "@") continue;
        ASSERT_THAT(*masked, Not(HasSubstr(piece))) << value << " by " << v1::MaskStrategy_Name(strategy);
      }
      ASSERT_TRUE(Masker::IsSentinel(*masked)) << *masked;
      ASSERT_EQ(CountCharacters(value) >= 0 && CountCharacters(*masked) < 0, false) << *masked;
    }
  }
}

}  // namespace
}  // namespace postern::mask
