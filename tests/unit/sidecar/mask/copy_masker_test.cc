#include <string>
#include <vector>

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {
namespace {

using Copy = sql::Statement::Copy;

const Masker& TheMasker() {
  static const Masker masker("a key of the test");
  return masker;
}

Copy Text() {
  Copy copy;
  copy.to = true;
  copy.delimiter = "\t";
  copy.null_string = "\\N";
  return copy;
}

Copy Csv() {
  Copy copy;
  copy.to = true;
  copy.csv = true;
  copy.delimiter = ",";
  copy.quote = "\"";
  copy.escape = "\"";
  return copy;
}

Copy Binary() {
  Copy copy;
  copy.to = true;
  copy.binary = true;
  return copy;
}

std::vector<ColumnMask> MaskColumns(std::vector<int> columns, v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT) {
  std::vector<ColumnMask> masks;
  for (const int column : columns) masks.push_back({column, strategy, 25, 0});
  return masks;
}

// The payloads of whole CopyData messages.
std::string Payloads(std::string_view messages) {
  std::string payloads;
  while (!messages.empty()) {
    EXPECT_EQ(messages[0], 'd');
    const size_t length = ReadUint32(messages.substr(1));
    EXPECT_LE(length + 1, messages.size());
    payloads.append(messages.substr(5, length - 4));
    messages.remove_prefix(length + 1);
  }
  return payloads;
}

struct Result {
  std::string payload;
  absl::Status status;
};

// Feeds `stream` in pieces of `piece` bytes.
Result Run(const Copy& options, int columns, const std::vector<ColumnMask>& masks, std::string_view stream,
           size_t piece) {
  CopyMasker copy(TheMasker(), options, columns, masks);
  std::string out;
  absl::Status status;
  for (size_t at = 0; at < stream.size() && status.ok(); at += piece) {
    status = copy.Consume(stream.substr(at, piece), &out);
  }
  if (status.ok()) status = copy.Finish(&out);
  return {Payloads(out), status};
}

// The same whatever the pieces.
std::string Masked(const Copy& options, int columns, const std::vector<ColumnMask>& masks, std::string_view stream) {
  const Result whole = Run(options, columns, masks, stream, stream.size() + 1);
  EXPECT_TRUE(whole.status.ok()) << whole.status;
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    const Result split = Run(options, columns, masks, stream, piece);
    EXPECT_TRUE(split.status.ok()) << split.status << " in pieces of " << piece;
    EXPECT_EQ(split.payload, whole.payload) << "in pieces of " << piece;
  }
  return whole.payload;
}

void ExpectMalformed(const Copy& options, int columns, const std::vector<ColumnMask>& masks, std::string_view stream) {
  for (size_t piece : {stream.size() + 1, size_t{1}}) {
    const Result result = Run(options, columns, masks, stream, piece);
    EXPECT_EQ(result.status.code(), absl::StatusCode::kDataLoss) << stream;
    EXPECT_EQ(ReasonOf(result.status), "MALFORMED_COPY");
    EXPECT_THAT(result.payload, testing::Not(testing::HasSubstr("secret")));
  }
}

TEST(CopyText, MasksItsColumn) {
  EXPECT_EQ(Masked(Text(), 3, MaskColumns({1}), "1\tsecret\tx\n2\tsecret2\ty\n"),
            "1\t[redacted]\tx\n2\t[redacted]\ty\n");
}

TEST(CopyText, NullStaysNull) { EXPECT_EQ(Masked(Text(), 2, MaskColumns({1}), "1\t\\N\n"), "1\t\\N\n"); }

TEST(CopyText, NullStrategyWritesTheNullString) {
  EXPECT_EQ(Masked(Text(), 2, MaskColumns({1}, v1::MASK_STRATEGY_NULL), "1\tsecret\n"), "1\t\\N\n");
}

TEST(CopyText, EscapesDoNotEndFieldsOrRows) {
  EXPECT_EQ(Masked(Text(), 2, MaskColumns({0}), "se\\\tcret\\\\\\n\tx\\ty\n"), "[redacted]\tx\\ty\n");
  EXPECT_EQ(Masked(Text(), 2, MaskColumns({0}), "se\\\ncret\tx\n"), "[redacted]\tx\n");
}

TEST(CopyText, ValuesAreUnescapedBeforeTheyAreMaskedAndEscapedAfter) {
  EXPECT_EQ(Masked(Text(), 1, MaskColumns({0}, v1::MASK_STRATEGY_LAST4), "123456\\101\\x42\\t\\\\\n"),
            "****AB\\t\\\\\n");
  Copy custom = Text();
  custom.delimiter = "*";
  EXPECT_EQ(Masked(custom, 2, MaskColumns({1}, v1::MASK_STRATEGY_PARTIAL), "1*John\n"), "1*J\\*\\*\\*n\n");
}

TEST(CopyText, CustomDelimiterAndEmptyNull) {
  Copy custom = Text();
  custom.delimiter = "|";
  custom.null_string = "";
  EXPECT_EQ(Masked(custom, 3, MaskColumns({0, 2}), "secret|a|\n|b|secret\n"), "[redacted]|a|\n|b|[redacted]\n");
}

TEST(CopyText, NullThatMightBeAValueTellsNothing) {
  Copy guess = Text();
  guess.null_string = "ann@example.com";
  EXPECT_EQ(Masked(guess, 1, MaskColumns({0}), "ann@example.com\nbob@example.com\n"),
            "ann@example.com\nann@example.com\n");
}

TEST(CopyText, CarriageReturnBelongsToTheEnd) {
  EXPECT_EQ(Masked(Text(), 2, MaskColumns({1}), "1\tsecret\r\n"), "1\t[redacted]\r\n");
}

TEST(CopyText, HeaderIsKept) {
  Copy header = Text();
  header.header = true;
  EXPECT_EQ(Masked(header, 2, MaskColumns({1}), "id\temail\n1\tsecret\n"), "id\temail\n1\t[redacted]\n");
}

TEST(CopyText, TableWithoutColumns) { EXPECT_EQ(Masked(Text(), 0, {}, "\n\n"), "\n\n"); }

TEST(CopyText, EmptyStream) { EXPECT_EQ(Masked(Text(), 2, MaskColumns({1}), ""), ""); }

TEST(CopyText, Malformed) {
  ExpectMalformed(Text(), 2, MaskColumns({1}), "1\n");
  ExpectMalformed(Text(), 2, MaskColumns({1}), "1\tsecret\tx\n");
  ExpectMalformed(Text(), 2, MaskColumns({1}), "1\tsecret");
  ExpectMalformed(Text(), 2, MaskColumns({1}), "1\tsecret\\");
  ExpectMalformed(Text(), 2, MaskColumns({2}), "1\tsecret\n");
  ExpectMalformed(Text(), 2, MaskColumns({1, 0}), "secret\tsecret\n");
  Copy sjis = Text();
  sjis.encoding = "SJIS";
  ExpectMalformed(sjis, 2, MaskColumns({1}), "1\tsecret\n");
}

TEST(CopyCsv, MasksItsColumn) {
  EXPECT_EQ(Masked(Csv(), 3, MaskColumns({1}), "1,secret,x\n2,\"sec,ret\",y\n"),
            "1,[redacted],x\n2,\"[redacted]\",y\n");
}

TEST(CopyCsv, QuotesHideDelimitersQuotesAndNewlines) {
  EXPECT_EQ(Masked(Csv(), 2, MaskColumns({0}), "\"a,\"\"b\"\"\nc\",\"x\n\"\"y\"\"\"\n"),
            "\"[redacted]\",\"x\n\"\"y\"\"\"\n");
}

TEST(CopyCsv, ValuesAreUnquotedBeforeTheyAreMaskedAndQuotedAfter) {
  EXPECT_EQ(Masked(Csv(), 1, MaskColumns({0}, v1::MASK_STRATEGY_LAST4), "\"123456A,\"\"Z\"\n"), "\"****A,\"\"Z\"\n");
  EXPECT_EQ(Masked(Csv(), 1, MaskColumns({0}, v1::MASK_STRATEGY_LAST4), "12345678\n"), "****5678\n");
}

TEST(CopyCsv, NullIsUnquotedOnly) {
  EXPECT_EQ(Masked(Csv(), 2, MaskColumns({1}), "1,\n2,\"\"\n"), "1,\n2,\"[redacted]\"\n");
  EXPECT_EQ(Masked(Csv(), 2, MaskColumns({1}, v1::MASK_STRATEGY_NULL), "1,\"secret\"\n"), "1,\n");
}

TEST(CopyCsv, OtherEscapeAndQuote) {
  Copy custom = Csv();
  custom.quote = "'";
  custom.escape = "\\";
  custom.delimiter = ";";
  EXPECT_EQ(Masked(custom, 2, MaskColumns({0}), "'se\\';\n\\\\cret';x\n"), "'[redacted]';x\n");
  EXPECT_EQ(Masked(custom, 1, MaskColumns({0}, v1::MASK_STRATEGY_LAST4), "'1234567\\'\\\\z'\n"), "'****7\\'\\\\z'\n");
}

TEST(CopyCsv, HeaderMayHoldNewlines) {
  Copy header = Csv();
  header.header = true;
  EXPECT_EQ(Masked(header, 2, MaskColumns({1}), "id,\"e\nmail\"\n1,secret\n"), "id,\"e\nmail\"\n1,[redacted]\n");
}

TEST(CopyCsv, Malformed) {
  ExpectMalformed(Csv(), 2, MaskColumns({1}), "1,\"secret\n");
  ExpectMalformed(Csv(), 2, MaskColumns({1}), "1,\"secret\"x\n");
  ExpectMalformed(Csv(), 2, MaskColumns({1}), "1,se\"cret\"\n");
  ExpectMalformed(Csv(), 2, MaskColumns({1}), "1,secret,x\n");
  ExpectMalformed(Csv(), 2, MaskColumns({1}), "1\n");
}

std::string BinaryHeader(uint32_t flags = 0, std::string_view extension = "") {
  std::string header("PGCOPY\n\xff\r\n\0", 11);
  AppendUint32(flags, &header);
  AppendUint32(static_cast<uint32_t>(extension.size()), &header);
  return header.append(extension);
}

std::string BinaryRow(const std::vector<std::string>& fields) {
  std::string row;
  AppendUint16(static_cast<uint16_t>(fields.size()), &row);
  for (const std::string& field : fields) {
    AppendUint32(static_cast<uint32_t>(field.size()), &row);
    row += field;
  }
  return row;
}

const std::string kTrailer("\xff\xff", 2);

TEST(CopyBinary, MasksItsColumn) {
  EXPECT_EQ(Masked(Binary(), 2, MaskColumns({1}), BinaryHeader(0, "ext") + BinaryRow({"1", "secret"}) + kTrailer),
            BinaryHeader(0, "ext") + BinaryRow({"1", "[redacted]"}) + kTrailer);
}

TEST(CopyBinary, NullStaysNull) {
  const std::string row("\0\2\xff\xff\xff\xff\0\0\0\1x", 11);
  EXPECT_EQ(Masked(Binary(), 2, MaskColumns({0}), BinaryHeader() + row + kTrailer), BinaryHeader() + row + kTrailer);
}

TEST(CopyBinary, UnknownTypeBecomesNull) {
  const std::vector<ColumnMask> masks{{0, v1::MASK_STRATEGY_REDACT, 16999, 0}};
  EXPECT_EQ(Masked(Binary(), 1, masks, BinaryHeader() + BinaryRow({"secret"}) + kTrailer),
            BinaryHeader() + std::string("\0\1\xff\xff\xff\xff", 6) + kTrailer);
}

TEST(CopyBinary, Malformed) {
  const std::string row = BinaryRow({"1", "secret"});
  ExpectMalformed(Binary(), 2, MaskColumns({1}), "PGCOPX" + row);
  ExpectMalformed(Binary(), 2, MaskColumns({1}), BinaryHeader(1 << 16) + row + kTrailer);
  ExpectMalformed(Binary(), 2, MaskColumns({1}), BinaryHeader() + row);
  ExpectMalformed(Binary(), 2, MaskColumns({1}), BinaryHeader() + row + kTrailer + "x");
  ExpectMalformed(Binary(), 2, MaskColumns({1}), BinaryHeader() + BinaryRow({"secret"}) + kTrailer);
  ExpectMalformed(Binary(), 1, MaskColumns({0}), BinaryHeader() + std::string("\0\1\x80\0\0\0", 6) + kTrailer);
  ExpectMalformed(Binary(), 1, MaskColumns({0}), "");
}

}  // namespace
}  // namespace postern::mask
