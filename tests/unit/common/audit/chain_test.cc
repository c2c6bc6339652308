#include "common/audit/chain.h"

#include <random>
#include <string>

#include "absl/strings/escaping.h"
#include "common/audit/crc32c.h"
#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::audit {
namespace {

v1::AuditRecord Statement(const std::string& sql) {
  v1::AuditRecord record;
  record.set_kind(v1::STATEMENT_INTENT);
  record.set_sql(sql);
  return record;
}

TEST(Crc32c, MatchesThePublishedVectors) {
  // RFC 3720 appendix B.4.
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32c, InstructionAndTableAgreeAndPiecesJoin) {
  std::mt19937 rng(7);
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    bytes.push_back(static_cast<char>(rng()));
    const size_t cut = rng() % bytes.size();
    EXPECT_EQ(Crc32c(bytes), Crc32cPortable(bytes));
    EXPECT_EQ(Crc32c(bytes.substr(cut), Crc32c(bytes.substr(0, cut))), Crc32c(bytes));
  }
}

TEST(Digest, PiecesHashAsOne) {
  const Digest digest = Sha256({"a", "", "bc"});
  EXPECT_EQ(absl::BytesToHexString(std::string(View(digest))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256({"abc"}), digest);
}

TEST(Digest, ToDigestTakes32BytesOnly) {
  EXPECT_FALSE(ToDigest(std::string(31, 'x')).has_value());
  EXPECT_FALSE(ToDigest(std::string(33, 'x')).has_value());
  EXPECT_TRUE(ToDigest(std::string(32, 'x')).has_value());
}

TEST(SerializeRecord, IsDeterministicWithMaps) {
  v1::AuditRecord a;
  v1::AuditRecord b;
  for (int i = 0; i < 50; ++i) (*a.mutable_detail())[std::to_string(i)] = "x";
  for (int i = 49; i >= 0; --i) (*b.mutable_detail())[std::to_string(i)] = "x";
  EXPECT_EQ(SerializeRecord(a), SerializeRecord(b));
}

TEST(Chain, HashIsTheDocumentedFormula) {
  Chain chain("sdc_1", "e1");
  const std::string body = SerializeRecord(Statement("select 1"));
  const v1::ChainedRecord link = chain.Append(body);
  const std::string hashed = "postern-chain-v1\n" + std::string(32, '\0') + std::string(View(Sha256({body}))) + "e1" +
                             std::string(1, '\0') + std::string("\0\0\0\0\0\0\0\x01", 8);
  EXPECT_EQ(link.chain_hash(), View(Sha256({hashed})));
  EXPECT_EQ(link.sequence(), 1);
  EXPECT_EQ(link.writer(), "sdc_1");
  EXPECT_EQ(link.record(), body);
}

TEST(Chain, FollowsWhatItAppended) {
  Chain writer("w", "e");
  Chain reader("w", "e");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(reader.Follow(writer.Append(SerializeRecord(Statement(std::to_string(i))))).ok());
  }
  EXPECT_EQ(reader.sequence(), 20);
  EXPECT_EQ(reader.hash(), writer.hash());
}

TEST(Chain, GoesOnAfterAKnownLink) {
  Chain writer("w", "e");
  writer.Append("one");
  Chain resumed("w", "e", writer.sequence(), writer.hash());
  EXPECT_EQ(resumed.Append("two").chain_hash(), writer.Append("two").chain_hash());
}

class ChainRefuses : public ::testing::Test {
 protected:
  void SetUp() override {
    first_ = writer_.Append("one");
    second_ = writer_.Append("two");
    third_ = writer_.Append("three");
    ASSERT_TRUE(reader_.Follow(first_).ok());
  }
  std::string Reason(const v1::ChainedRecord& next) {
    const absl::Status status = reader_.Follow(next);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    // Nothing moved: the right one still follows.
    Chain copy = reader_;
    EXPECT_TRUE(copy.Follow(second_).ok());
    return ReasonOf(status);
  }
  Chain writer_{"w", "e"};
  Chain reader_{"w", "e"};
  v1::ChainedRecord first_, second_, third_;
};

TEST_F(ChainRefuses, AGap) { EXPECT_EQ(Reason(third_), "CHAIN_GAP"); }
TEST_F(ChainRefuses, ARepeatedRecord) { EXPECT_EQ(Reason(first_), "CHAIN_GAP"); }
TEST_F(ChainRefuses, AnAlteredBody) {
  v1::ChainedRecord altered = second_;
  altered.set_record("twp");
  EXPECT_EQ(Reason(altered), "CHAIN_MISMATCH");
}
TEST_F(ChainRefuses, AnAlteredHash) {
  v1::ChainedRecord altered = second_;
  (*altered.mutable_chain_hash())[0] ^= 1;
  EXPECT_EQ(Reason(altered), "CHAIN_MISMATCH");
}
TEST_F(ChainRefuses, AnotherEpoch) {
  v1::ChainedRecord other = second_;
  other.set_epoch("f");
  EXPECT_EQ(Reason(other), "CHAIN_WRONG_EPOCH");
}
TEST_F(ChainRefuses, AnotherWriter) {
  v1::ChainedRecord other = second_;
  other.set_writer("v");
  EXPECT_EQ(Reason(other), "CHAIN_MISMATCH");
}
TEST_F(ChainRefuses, ARenumberedRecord) {
  v1::ChainedRecord renumbered = third_;
  renumbered.set_sequence(2);
  EXPECT_EQ(Reason(renumbered), "CHAIN_MISMATCH");
}

}  // namespace
}  // namespace postern::audit
