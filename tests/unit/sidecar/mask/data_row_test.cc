#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {
namespace {

using Row = std::vector<std::optional<std::string>>;

const Masker& TheMasker() {
  static const Masker masker("a key of the test");
  return masker;
}

std::string Encode(const Row& row) {
  std::string body;
  AppendUint16(static_cast<uint16_t>(row.size()), &body);
  for (const auto& field : row) {
    AppendUint32(field ? static_cast<uint32_t>(field->size()) : 0xffffffff, &body);
    if (field) body += *field;
  }
  return body;
}

Row Decode(std::string_view message) {
  EXPECT_EQ(message[0], 'D');
  EXPECT_EQ(ReadUint32(message.substr(1)), message.size() - 1);
  std::string_view body = message.substr(5);
  Row row;
  const int columns = ReadUint16(body);
  body.remove_prefix(2);
  for (int i = 0; i < columns; ++i) {
    const uint32_t length = ReadUint32(body);
    body.remove_prefix(4);
    if (length == 0xffffffff) {
      row.emplace_back();
      continue;
    }
    row.emplace_back(body.substr(0, length));
    body.remove_prefix(length);
  }
  EXPECT_TRUE(body.empty());
  return row;
}

ColumnMask MaskOf(int column, v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT, sql::Oid type = 25) {
  return {column, strategy, type, 0};
}

Row Rewrite(const Row& row, const std::vector<ColumnMask>& masks) {
  std::string out;
  const absl::Status status = RewriteDataRow(TheMasker(), masks, Encode(row), &out);
  EXPECT_TRUE(status.ok()) << status;
  return Decode(out);
}

TEST(RewriteDataRow, MasksTheNamedColumnsOnly) {
  EXPECT_EQ(Rewrite({"1", "ann@example.com", "x", "555-123-4567"},
                    {MaskOf(1, v1::MASK_STRATEGY_EMAIL_DOMAIN), MaskOf(3, v1::MASK_STRATEGY_LAST4)}),
            (Row{"1", "***@example.com", "x", "****4567"}));
}

TEST(RewriteDataRow, NullStaysNull) { EXPECT_EQ(Rewrite({std::nullopt, "b"}, {MaskOf(0)}), (Row{std::nullopt, "b"})); }

TEST(RewriteDataRow, NullStrategyMakesNull) {
  EXPECT_EQ(Rewrite({"a", "b"}, {MaskOf(0, v1::MASK_STRATEGY_NULL)}), (Row{std::nullopt, "b"}));
}

TEST(RewriteDataRow, AppendsBehindWhatIsThere) {
  std::string out = "T....";
  ASSERT_TRUE(RewriteDataRow(TheMasker(), {MaskOf(0)}, Encode({"a"}), &out).ok());
  EXPECT_EQ(out.substr(0, 5), "T....");
  EXPECT_EQ(Decode(std::string_view(out).substr(5)), (Row{"[redacted]"}));
}

struct MalformedCase {
  const char* name;
  std::string body;
};

class Malformed : public testing::TestWithParam<MalformedCase> {};

TEST_P(Malformed, IsRefusedAndNothingIsAppended) {
  std::string out = "kept";
  const absl::Status status = RewriteDataRow(TheMasker(), {MaskOf(0)}, GetParam().body, &out);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReasonOf(status), "MALFORMED_DATA_ROW");
  EXPECT_EQ(out, "kept");
}

INSTANTIATE_TEST_SUITE_P(All, Malformed,
                         testing::Values(MalformedCase{"Empty", ""}, MalformedCase{"HalfACount", std::string(1, '\0')},
                                         MalformedCase{"NoSuchColumn", std::string(2, '\0')},
                                         MalformedCase{"NegativeCount", std::string("\xff\xff", 2)},
                                         MalformedCase{"HalfALength", std::string("\0\1\0\0", 4)},
                                         MalformedCase{"ValueTooShort", std::string("\0\1\0\0\0\2x", 7)},
                                         MalformedCase{"LengthOfMinusTwo", std::string("\0\1\xff\xff\xff\xfe", 6)},
                                         MalformedCase{"HugeLength", std::string("\0\1\x7f\xff\xff\xff", 6)},
                                         MalformedCase{"BytesLeftOver", std::string("\0\1\0\0\0\1xy", 8)}),
                         [](const auto& param) { return param.param.name; });

TEST(RewriteDataRow, MasksOutOfOrderOrTwiceAreRefused) {
  std::string out;
  EXPECT_FALSE(RewriteDataRow(TheMasker(), {MaskOf(1), MaskOf(0)}, Encode({"a", "b"}), &out).ok());
  EXPECT_FALSE(RewriteDataRow(TheMasker(), {MaskOf(0), MaskOf(0)}, Encode({"a", "b"}), &out).ok());
  EXPECT_EQ(out, "");
}

TEST(RewriteDataRow, RandomRowsParseBackWithOnlyMaskedColumnsChanged) {
  std::mt19937 random(7);
  for (int round = 0; round < 5'000; ++round) {
    Row row(random() % 12);
    std::vector<ColumnMask> masks;
    Row expected = row;
    for (size_t i = 0; i < row.size(); ++i) {
      if (random() % 4 != 0) {
        row[i].emplace();
        for (size_t n = random() % 40; n > 0; --n) row[i]->push_back(static_cast<char>(random()));
      }
      expected[i] = row[i];
      if (random() % 3 != 0) continue;
      const bool null = random() % 2 == 0;
      masks.push_back(MaskOf(static_cast<int>(i), null ? v1::MASK_STRATEGY_NULL : v1::MASK_STRATEGY_REDACT));
      if (row[i]) expected[i] = null ? std::nullopt : std::optional<std::string>("[redacted]");
    }
    ASSERT_EQ(Rewrite(row, masks), expected);
  }
}

}  // namespace
}  // namespace postern::mask
