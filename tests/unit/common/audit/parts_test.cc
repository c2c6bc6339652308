#include "common/audit/parts.h"

#include <random>
#include <string>

#include "common/audit/chain.h"
#include "common/base/errors.h"
#include "gtest/gtest.h"

namespace postern::audit {
namespace {

constexpr size_t kMax = 16384;

v1::AuditRecord Large(size_t sql_bytes) {
  v1::AuditRecord record;
  record.set_kind(v1::STATEMENT_INTENT);
  record.set_agent("support-bot");
  record.set_session_id("ses_1");
  record.set_execution(4);
  record.set_decision("allow");
  record.add_effects("insert app.orders");
  record.set_sql(std::string(sql_bytes, 's'));
  return record;
}

TEST(Parts, ASmallRecordStaysWhole) {
  const auto parts = SplitRecord(Large(100), "rec_1", kMax);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].parts(), 0);
  EXPECT_EQ(SerializeRecord(*JoinParts(parts)), SerializeRecord(Large(100)));
}

TEST(Parts, ALargeRecordIsSplitAndJoinsToTheSame) {
  std::mt19937 rng(3);
  for (int round = 0; round < 50; ++round) {
    v1::AuditRecord record = Large(rng() % 100000);
    for (uint32_t i = rng() % 40; i > 0; --i) record.add_values()->set_value(std::string(rng() % 5000, 'v'));
    for (uint32_t i = rng() % 2000; i > 0; --i) record.add_effects("select app.t" + std::to_string(i));
    record.set_error(std::string(rng() % 60000, 'e'));
    (*record.mutable_detail())["k"] = std::string(rng() % 30000, 'd');
    const auto parts = SplitRecord(record, "rec_01hzzzzzzzzzzzzzzzzzzzzzzz", kMax);
    for (const auto& part : parts) EXPECT_LE(part.ByteSizeLong(), kMax);
    auto joined = JoinParts(parts);
    ASSERT_TRUE(joined.ok()) << joined.status();
    EXPECT_EQ(SerializeRecord(*joined), SerializeRecord(record));
  }
}

TEST(Parts, TheFirstPartIsFoundByQueriesAndAllSayWho) {
  const auto parts = SplitRecord(Large(100000), "rec_1", kMax);
  ASSERT_GT(parts.size(), 2u);
  EXPECT_EQ(parts[0].decision(), "allow");
  EXPECT_EQ(parts[0].effects(0), "insert app.orders");
  EXPECT_FALSE(parts[0].sql().empty());
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(parts[i].part_of(), "rec_1");
    EXPECT_EQ(parts[i].part(), static_cast<int>(i + 1));
    EXPECT_EQ(parts[i].parts(), static_cast<int>(parts.size()));
    EXPECT_EQ(parts[i].agent(), "support-bot");
    EXPECT_EQ(parts[i].session_id(), "ses_1");
    EXPECT_EQ(parts[i].execution(), 4);
  }
}

TEST(Parts, NamesOfAbsurdLengthDoNotPreventIt) {
  v1::AuditRecord record = Large(10);
  record.set_agent(std::string(50000, 'a'));
  record.set_rule(std::string(50000, 'r'));
  const auto parts = SplitRecord(record, "rec_1", kMax);
  for (const auto& part : parts) EXPECT_LE(part.ByteSizeLong(), kMax);
  EXPECT_EQ(SerializeRecord(*JoinParts(parts)), SerializeRecord(record));
}

TEST(Parts, ShortenedTextStaysValidUtf8) {
  v1::AuditRecord record = Large(10);
  std::string name = "x";
  while (name.size() < 50000) name += "ü";
  record.set_agent(name);
  const auto parts = SplitRecord(record, "rec_1", kMax);
  v1::AuditRecord parsed;
  EXPECT_TRUE(parsed.ParseFromString(SerializeRecord(parts[0])));
  EXPECT_EQ(parts[0].agent().size(), 127u);  // "x" and 63 characters of two bytes
}

TEST(Parts, AMissingOrMovedPartIsSeen) {
  auto parts = SplitRecord(Large(100000), "rec_1", kMax);
  auto missing = parts;
  missing.erase(missing.begin() + 1);
  EXPECT_EQ(ReasonOf(JoinParts(missing).status()), "PARTS_INCOMPLETE");
  auto cut = parts;
  cut.pop_back();
  EXPECT_EQ(ReasonOf(JoinParts(cut).status()), "PARTS_INCOMPLETE");
  auto swapped = parts;
  std::swap(swapped[0], swapped[1]);
  EXPECT_EQ(ReasonOf(JoinParts(swapped).status()), "PARTS_INCOMPLETE");
  EXPECT_EQ(ReasonOf(JoinParts({}).status()), "PARTS_INCOMPLETE");
}

}  // namespace
}  // namespace postern::audit
