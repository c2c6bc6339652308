#include "sidecar/mask/mask.h"

#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/mask/big_endian.h"
#include "tests/integration/target/one_server.h"

namespace postern::mask {
namespace {

using target_test::Admin;
using target_test::Result;

constexpr v1::MaskStrategy kStrategies[] = {v1::MASK_STRATEGY_REDACT, v1::MASK_STRATEGY_HASH,
                                            v1::MASK_STRATEGY_LAST4,  v1::MASK_STRATEGY_PARTIAL,
                                            v1::MASK_STRATEGY_YEAR,   v1::MASK_STRATEGY_EMAIL_DOMAIN};

const Masker& TheMasker() {
  static const Masker masker("a key of the test");
  return masker;
}

// A literal of the type, for those whose mask looks at the value.
std::string SampleOf(const std::string& type) {
  if (type.starts_with('_')) return "{}";
  if (type == "date") return "2023-05-17";
  if (type.starts_with("timestamp")) return "0044-05-17 10:20:30.5 BC";
  if (type == "uuid") return "00112233-4455-6677-8899-aabbccddeeff";
  if (type == "text" || type == "varchar" || type == "bpchar" || type == "name") return "ann.other@example.com";
  return "";
}

// The sample as the server sends it in `format`; absent where there is none.
std::string Send(Admin& admin, const std::string& type, const std::string& sample, int format) {
  if (sample.empty()) return "irrelevant";
  const Result result(PQexecParams(admin.conn(), fmt::format("SELECT '{}'::pg_catalog.\"{}\"", sample, type).c_str(), 0,
                                   nullptr, nullptr, nullptr, nullptr, format));
  EXPECT_EQ(PQresultStatus(result.get()), PGRES_TUPLES_OK) << type << ": " << PQerrorMessage(admin.conn());
  return {PQgetvalue(result.get(), 0, 0), static_cast<size_t>(PQgetlength(result.get(), 0, 0))};
}

// Whether the server reads `value` as a parameter of the type.
std::string Receive(Admin& admin, Oid oid, const std::string& value, int format) {
  const char* values[] = {value.c_str()};
  const int lengths[] = {static_cast<int>(value.size())};
  const int formats[] = {format};
  const Result result(PQexecParams(admin.conn(), "SELECT $1", 1, &oid, values, lengths, formats, 0));
  return PQresultStatus(result.get()) == PGRES_TUPLES_OK ? "" : PQerrorMessage(admin.conn());
}

TEST(MaskOnServer, EveryMaskedValueIsReadByItsType) {
  Admin admin;
  // Types that values of tables have: no pseudo-types, and none without input, such as pg_node_tree.
  const Result types = admin.Run(
      "SELECT oid, typname FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typnamespace = 'pg_catalog'::regnamespace "
      "AND oid < 10000 ORDER BY oid");
  std::set<std::string> masked_types;
  for (int i = 0; i < PQntuples(types.get()); ++i) {
    const auto oid = static_cast<Oid>(std::stoul(PQgetvalue(types.get(), i, 0)));
    const std::string type = PQgetvalue(types.get(), i, 1);
    const bool text_only = type == "_aclitem" || type == "_gtsvector";  // their elements have no binary form
    for (const int format : {0, 1}) {
      if (format == 1 && text_only) continue;
      const std::string value = Send(admin, type, SampleOf(type), format);
      for (const v1::MaskStrategy strategy : kStrategies) {
        std::string masked;
        if (!TheMasker().Mask(strategy, oid, static_cast<int16_t>(format), value, &masked)) continue;
        masked_types.insert(type);
        EXPECT_EQ(Receive(admin, oid, masked, format), "")
            << type << " by " << v1::MaskStrategy_Name(strategy) << " in format " << format;
      }
    }
  }
  for (const char* type : {"bool",    "bytea", "name",      "int2",   "int4",      "int8",        "text",     "oid",
                           "json",    "jsonb", "float4",    "float8", "inet",      "cidr",        "macaddr",  "bpchar",
                           "varchar", "date",  "time",      "timetz", "timestamp", "timestamptz", "interval", "numeric",
                           "uuid",    "xml",   "int4range", "_text",  "_int4",     "_uuid"}) {
    EXPECT_TRUE(masked_types.contains(type)) << type;
  }
}

// Rows that look like delimiters, quotes, escapes and NULLs.
constexpr const char* kRows = R"(
  CREATE TEMP TABLE hard (id int, hidden text, clear text);
  INSERT INTO hard VALUES
    (1, 'secret,one', 'a,b'), (2, NULL, NULL), (3, '', ''), (4, E'sec\tret\n\\two', E'tab\there\nnewline\\slash'),
    (5, '"secret"', '"quoted"'), (6, '\N', '\N'), (7, E'secret\r\n', E'cr\rlf\n'), (8, 'NULL', '\.'),
    (9, 'žluťoučký secret', '漢字😀')
)";

std::string CopyOut(Admin& admin, const std::string& sql) {
  std::string stream;
  const Result begin(PQexec(admin.conn(), sql.c_str()));
  EXPECT_EQ(PQresultStatus(begin.get()), PGRES_COPY_OUT) << PQerrorMessage(admin.conn());
  char* row = nullptr;
  for (int size = PQgetCopyData(admin.conn(), &row, 0); size >= 0; size = PQgetCopyData(admin.conn(), &row, 0)) {
    stream.append(row, static_cast<size_t>(size));
    PQfreemem(row);
  }
  const Result end(PQgetResult(admin.conn()));
  EXPECT_EQ(PQresultStatus(end.get()), PGRES_COMMAND_OK);
  const Result none(PQgetResult(admin.conn()));
  return stream;
}

void CopyIn(Admin& admin, const std::string& sql, std::string_view messages) {
  const Result begin(PQexec(admin.conn(), sql.c_str()));
  ASSERT_EQ(PQresultStatus(begin.get()), PGRES_COPY_IN) << PQerrorMessage(admin.conn());
  while (!messages.empty()) {
    ASSERT_EQ(messages[0], 'd');
    const size_t length = ReadUint32(messages.substr(1));
    ASSERT_EQ(PQputCopyData(admin.conn(), messages.data() + 5, static_cast<int>(length - 4)), 1);
    messages.remove_prefix(length + 1);
  }
  ASSERT_EQ(PQputCopyEnd(admin.conn(), nullptr), 1);
  const Result end(PQgetResult(admin.conn()));
  EXPECT_EQ(PQresultStatus(end.get()), PGRES_COMMAND_OK) << sql << ": " << PQerrorMessage(admin.conn());
  const Result none(PQgetResult(admin.conn()));
}

struct CopyCase {
  const char* name;
  const char* options;
  sql::Statement::Copy copy;
};

sql::Statement::Copy Copy(bool csv, const char* delimiter, const char* null, const char* quote, const char* escape,
                          bool header) {
  sql::Statement::Copy copy;
  copy.to = true;
  copy.csv = csv;
  copy.delimiter = delimiter;
  copy.null_string = null;
  copy.quote = quote;
  copy.escape = escape;
  copy.header = header;
  return copy;
}

sql::Statement::Copy BinaryCopy() {
  sql::Statement::Copy copy;
  copy.to = true;
  copy.binary = true;
  return copy;
}

class CopyOnServer : public ::testing::TestWithParam<CopyCase> {};

TEST_P(CopyOnServer, TheServerReadsWhatItWroteButMasked) {
  const CopyCase& c = GetParam();
  Admin admin;
  admin.Run(kRows);
  admin.Run("CREATE TEMP TABLE back (LIKE hard)");
  const std::string stream = CopyOut(admin, fmt::format("COPY hard TO STDOUT WITH ({})", c.options));
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    CopyMasker copy(TheMasker(), c.copy, 3, {{1, v1::MASK_STRATEGY_REDACT, 25, 0}});
    std::string masked;
    for (size_t at = 0; at < stream.size();) {
      const size_t piece = round == 0 ? 1 : 1 + random() % 40;
      const absl::Status status = copy.Consume(std::string_view(stream).substr(at, piece), &masked);
      ASSERT_TRUE(status.ok()) << status;
      at += piece;
    }
    ASSERT_TRUE(copy.Finish(&masked).ok());
    EXPECT_THAT(masked, testing::Not(testing::HasSubstr("secret")));
    admin.Run("TRUNCATE back");
    // FORCE_QUOTE is an option of COPY TO only.
    std::string options = c.options;
    if (const size_t force = options.find(", FORCE_QUOTE"); force != std::string::npos) options.resize(force);
    CopyIn(admin, fmt::format("COPY back FROM STDIN WITH ({})", options), masked);
    // Whatever is not NULL is redacted; an empty NULL string of text format does not tell '' from NULL.
    EXPECT_EQ(admin.Value("SELECT count(*) FROM back JOIN hard USING (id)"), "9");
    EXPECT_EQ(admin.Value("SELECT count(*) FROM back WHERE hidden <> '[redacted]' AND hidden <> ''"), "0");
    EXPECT_EQ(admin.Value("SELECT count(*) FROM back JOIN hard USING (id) "
                          "WHERE back.hidden = '[redacted]' AND coalesce(hard.hidden, '') <> ''"),
              "7");
    EXPECT_EQ(admin.Value("SELECT count(*) FROM back JOIN hard USING (id) "
                          "WHERE coalesce(back.clear, '') IS DISTINCT FROM coalesce(hard.clear, '')"),
              "0");
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, CopyOnServer,
    ::testing::Values(CopyCase{"Text", "FORMAT text", Copy(false, "\t", "\\N", "", "", false)},
                      CopyCase{"TextWithHeader", "FORMAT text, HEADER", Copy(false, "\t", "\\N", "", "", true)},
                      CopyCase{"TextWithPipes", "DELIMITER '|', NULL ''", Copy(false, "|", "", "", "", false)},
                      CopyCase{"Csv", "FORMAT csv, HEADER", Copy(true, ",", "", "\"", "\"", true)},
                      CopyCase{"CsvQuotedAll", "FORMAT csv, FORCE_QUOTE *", Copy(true, ",", "", "\"", "\"", false)},
                      CopyCase{"CsvOfAnotherKind", "FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE E'\\\\', NULL 'NULL'",
                               Copy(true, ";", "NULL", "'", "\\", false)},
                      CopyCase{"Binary", "FORMAT binary", BinaryCopy()}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace postern::mask
