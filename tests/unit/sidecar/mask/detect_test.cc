// Content detectors: what they find, and what they leave alone.
#include "sidecar/mask/detect.h"

#include <chrono>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {
namespace {

DetectorSet All() {
  DetectorSet all;
  for (int i = 0; i < policy::kDetectorCount; ++i) all.Add(static_cast<Detector>(i));
  return all;
}

std::string Searched(std::string_view text, bool json = false) {
  std::string out;
  DetectorCounts counts{};
  return ReplaceDetected(text, All(), json, &out, &counts) ? out : "-";
}

struct Case {
  const char* text;
  const char* expected;  // "-": nothing is found
};

void Expect(const std::vector<Case>& cases) {
  for (const Case& c : cases) EXPECT_EQ(Searched(c.text), c.expected) << c.text;
}

TEST(Detect, EmailAddresses) {
  Expect({{"write to ann.b+news@mail.example.com.", "write to [email redacted]."},
          {"<ann@example.com>, bob@example.org;", "<[email redacted]>, [email redacted];"},
          {"jörg@bücher.example", "[email redacted]"},
          {"a@b", "-"},
          {"@example.com", "-"},
          {"ann@example", "-"},
          {"5 @ 3.50", "-"},
          {"ann@10.0.0.1", "-"},
          {"x@y@z.example.com", "x@[email redacted]"}});
}

TEST(Detect, CardNumbersWithTheirCheckDigit) {
  Expect({{"card 4111 1111 1111 1111 exp 12/27", "card [card redacted] exp 12/27"},
          {"5555555555554444", "[card redacted]"},
          {"3782-822463-10005", "[card redacted]"},
          {"6011111111111117,4242424242424242", "[card redacted],[card redacted]"},
          {"4111 1111 1111 1112", "-"},
          {"41111111111111111111111", "-"},
          {"x4111111111111111", "-"},
          {"0.4111111111111111", "-"},
          {"1234567812345670", "-"},  // right by Luhn, but nobody issues it
          {"2555555555554444", "-"},
          {"order 4000000000", "-"}});
}

TEST(Detect, IbansByTheRemainderOf97) {
  Expect({{"pay DE89 3704 0044 0532 0130 00 today", "pay [iban redacted] today"},
          {"GB82WEST12345698765432", "[iban redacted]"},
          {"NO9386011117947", "[iban redacted]"},
          {"DE89370400440532013001", "-"},
          {"DE893704004405320130", "-"},
          {"XX82WEST12345698765432", "-"},
          {"de89370400440532013000", "-"}});
}

TEST(Detect, PhoneNumbersWithTheirCountry) {
  Expect({{"call +49 (30) 123-4567!", "call [phone redacted]!"},
          {"+14155552671", "[phone redacted]"},
          {"1 + 23456789", "-"},
          {"+0123456789", "-"},
          {"+49 30", "-"},
          {"a+4915112345679", "-"},
          {"+1234567890123456", "-"}});
}

TEST(Detect, NationalIdsByTheirCheckDigits) {
  Expect({{"ssn 536-90-4399.", "ssn [national_id redacted]."},
          {"000-12-3456", "-"},
          {"536-90-43991", "-"},
          {"CPF 529.982.247-25", "CPF [national_id redacted]"},
          {"529.982.247-24", "-"},
          {"12345678Z", "[national_id redacted]"},  // DNI
          {"12345678A", "-"},
          {"X1234567L", "[national_id redacted]"},  // NIE
          {"RSSMRA85T10A562S", "[national_id redacted]"},
          {"RSSMRA85T10A562T", "-"},
          {"255081416802538", "[national_id redacted]"},  // NIR
          {"255081416802539", "-"},
          {"44051401359", "[national_id redacted]"},  // PESEL
          {"44051401358", "-"},
          {"811228-9874", "[national_id redacted]"},  // personnummer
          {"811228-9873", "-"},
          {"86095742719", "[national_id redacted]"},  // Steuer-ID
          {"86095742718", "-"},
          {"2026-11-24", "-"},
          {"123456789", "-"}});
}

TEST(Detect, TokensAndKeys) {
  const std::string jwt =
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
      "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
  EXPECT_EQ(Searched("Bearer " + jwt + " end"), "Bearer [jwt redacted] end");
  EXPECT_EQ(Searched("eyJhbGci"), "-");
  EXPECT_EQ(Searched("eyJmb28iOiJiYXIifQ.eyJzdWIiOiIxIn0.abc"), "-");  // no alg
  const std::string aws = std::string("AKIA") + "IOSFODNN7EXAMPLE";
  EXPECT_EQ(Searched("key=" + aws + ";"), "key=[api_key redacted];");
  EXPECT_EQ(Searched("AKIAshort"), "-");
  EXPECT_EQ(Searched("x" + aws), "-");
  EXPECT_EQ(Searched(std::string("ghp") + "_" + std::string(36, 'a')), "[api_key redacted]");
  EXPECT_EQ(Searched(std::string("sk") + "_live_" + std::string(24, 'b')), "[api_key redacted]");
  const std::string pem = std::string("-----BEGIN RSA PRIVATE ") + "KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
  EXPECT_EQ(Searched("a " + pem + " b"), "a [api_key redacted] b");
  EXPECT_EQ(Searched("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----"), "-");
}

TEST(Detect, OrdinaryTextIsLeftAlone) {
  Expect({{"", "-"},
          {"The quick brown fox, 12 of them, at 10:45 on 2026-11-24.", "-"},
          {"SELECT a->>'b' FROM t WHERE c @> '{1,2}'::int[]", "-"},
          {"3f2504e0-4f89-41d3-9a0c-0305e82c3301", "-"},
          {"192.168.100.200:5432", "-"},
          {"1733000000123456", "-"},
          {"v1.2.3-rc.4+build.5", "-"}});
}

TEST(Detect, JsonStaysJson) {
  EXPECT_EQ(Searched(R"({"card": 4111111111111111, "to": "ann@example.com"})", true),
            R"({"card": "[card redacted]", "to": "[email redacted]"})");
  EXPECT_EQ(Searched(R"(["\"", 4111111111111111])", true), R"(["\"", "[card redacted]"])");
}

TEST(Detect, OnlyWhatIsWantedIsFoundAndCounted) {
  DetectorSet wanted;
  wanted.Add(Detector::kEmail);
  std::string out = "before ";
  DetectorCounts counts{};
  EXPECT_TRUE(ReplaceDetected("a@b.example 4111111111111111 c@d.example", wanted, false, &out, &counts));
  EXPECT_EQ(out, "before [email redacted] 4111111111111111 [email redacted]");
  EXPECT_EQ(counts[static_cast<size_t>(Detector::kEmail)], 2);
  EXPECT_EQ(counts[static_cast<size_t>(Detector::kCard)], 0);
}

TEST(Detect, WhatStandsForAHitIsNotWrittenBack) {
  EXPECT_TRUE(Masker::IsSentinel("call [phone redacted] at noon"));
  EXPECT_FALSE(Masker::IsSentinel("call [someone redacted] at noon"));
  EXPECT_FALSE(Masker::IsSentinel("nothing redacted]"));
}

constexpr sql::Oid kText = 25, kTextArray = 1009, kJsonb = 3802;

std::optional<std::string> InValue(sql::Oid type, int16_t format, std::string_view value) {
  std::string out;
  DetectorCounts counts{};
  const std::optional<bool> found = ReplaceInValue(type, format, value, All(), &out, &counts);
  if (!found.has_value()) return std::nullopt;
  return *found ? out : std::string(value);
}

TEST(Detect, ValuesInBothFormatsAndArrays) {
  EXPECT_EQ(InValue(kText, 1, "ann@example.com"), "[email redacted]");
  EXPECT_EQ(InValue(kTextArray, 0, R"({"to ann@example.com",NULL,x})"), R"({"to [email redacted]",NULL,x})");
  EXPECT_EQ(InValue(kJsonb, 1, std::string("\1") + R"({"a":"b@c.example"})"),
            std::string("\1") + R"({"a":"[email redacted]"})");
  const auto array = [](const std::vector<std::string>& elements) {
    std::string bytes;
    AppendUint32(1, &bytes);
    AppendUint32(1, &bytes);
    AppendUint32(25, &bytes);
    AppendUint32(static_cast<uint32_t>(elements.size() + 1), &bytes);
    AppendUint32(1, &bytes);
    for (const std::string& element : elements) {
      AppendUint32(static_cast<uint32_t>(element.size()), &bytes);
      bytes += element;
    }
    AppendUint32(0xffffffff, &bytes);
    return bytes;
  };
  EXPECT_EQ(InValue(kTextArray, 1, array({"x", "ann@example.com"})), array({"x", "[email redacted]"}));
  EXPECT_EQ(InValue(kTextArray, 1, array({"x", "y"})), array({"x", "y"}));
  EXPECT_EQ(InValue(kTextArray, 1, array({"x"}).substr(0, 22)), std::nullopt);
  // Of no known type: nothing can be put among its bytes.
  EXPECT_EQ(InValue(0, 1, "ann@example.com"), std::nullopt);
  EXPECT_EQ(InValue(0, 1, "ann"), "ann");
  EXPECT_EQ(InValue(0, 0, "ann@example.com"), "[email redacted]");
}

// Each byte is looked at a bounded number of times, whatever the text.
TEST(Detect, HostileTextTakesLinearTime) {
  for (const char* unit : {"eyJ-", "1 ", "4111-", "a@", "+1 ", "AB12 ", "-----BEGIN PRIVATE KEY", "sk_live_-", "9."}) {
    std::string text;
    while (text.size() < (1u << 20)) text += unit;
    const auto begin = std::chrono::steady_clock::now();
    Searched(text);
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took, std::chrono::seconds(10)) << unit;
  }
}

TEST(Detect, RowsAndCopyAreRewritten) {
  const Masker masker("");
  ColumnMask search;
  search.column = 1;
  search.type = kText;
  search.detect = All();
  search.counts = std::make_shared<DetectorCounts>();
  sql::Statement::Copy copy;
  copy.to = true;
  copy.delimiter = "\t";
  copy.null_string = "\\N";
  std::string out;
  CopyMasker text(masker, copy, 2, {search});
  ASSERT_TRUE(text.Consume("1\tto ann@example.com\n2\t\\N\n3\ta\\tb\n", &out).ok());
  EXPECT_THAT(out, ::testing::HasSubstr("1\tto [email redacted]\n"));
  EXPECT_THAT(out, ::testing::HasSubstr("2\t\\N\n"));
  EXPECT_THAT(out, ::testing::HasSubstr("3\ta\\tb\n"));
  EXPECT_EQ((*search.counts)[0], 1);
}

}  // namespace
}  // namespace postern::mask
