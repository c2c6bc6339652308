#include "common/audit/checkpoint.h"

#include <string>

#include "common/base/errors.h"
#include "gtest/gtest.h"

namespace postern::audit {
namespace {

v1::LoggedRecord Logged() {
  v1::LoggedRecord record;
  record.mutable_chained()->set_writer("sdc_1");
  record.mutable_chained()->set_epoch("ep");
  record.mutable_chained()->set_sequence(258);
  record.mutable_chained()->set_record("body");
  record.mutable_chained()->set_chain_hash(std::string(32, 'c'));
  record.mutable_ingest_time()->set_seconds(1);
  record.mutable_ingest_time()->set_nanos(2000);
  return record;
}

v1::Checkpoint Unsigned() {
  v1::Checkpoint checkpoint;
  checkpoint.set_origin("postern.example");
  checkpoint.set_tree_size(7);
  checkpoint.set_root_hash(std::string(32, '\0'));
  checkpoint.mutable_time()->set_seconds(1);
  return checkpoint;
}

TEST(Leaf, DataIsTheDocumentedLayout) {
  const auto data = LeafData(Logged());
  ASSERT_TRUE(data.ok());
  const std::string expected = std::string("postern-leaf-v1\n") + std::string("\0\x05", 2) + "sdc_1" +
                               std::string("\0\x02", 2) + "ep" + std::string("\0\0\0\0\0\0\x01\x02", 8) +
                               std::string(View(Sha256({"body"}))) + std::string(32, 'c') +
                               std::string("\0\0\0\0\0\x0f\x42\x42", 8);
  EXPECT_EQ(*data, expected);
}

TEST(Leaf, IsTheSameWithoutTheBody) {
  v1::LoggedRecord without = Logged();
  without.set_record_hash(std::string(View(Sha256({"body"}))));
  without.mutable_chained()->clear_record();
  EXPECT_EQ(*LeafData(without), *LeafData(Logged()));
}

TEST(Leaf, ABodyThatIsNotItsHashIsRefused) {
  v1::LoggedRecord lying = Logged();
  lying.set_record_hash(std::string(View(Sha256({"other"}))));
  EXPECT_EQ(ReasonOf(LeafData(lying).status()), "RECORD_MALFORMED");
}

TEST(Leaf, HashesOfOddLengthAndTimesThatLosePrecisionAreRefused) {
  v1::LoggedRecord record = Logged();
  record.mutable_chained()->set_chain_hash("short");
  EXPECT_EQ(ReasonOf(LeafData(record).status()), "RECORD_MALFORMED");
  record = Logged();
  record.set_record_hash("short");
  EXPECT_EQ(ReasonOf(LeafData(record).status()), "RECORD_MALFORMED");
  record = Logged();
  record.mutable_ingest_time()->set_nanos(2001);
  EXPECT_EQ(ReasonOf(LeafData(record).status()), "RECORD_MALFORMED");
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() : key_(*crypto::EcPrivateKey::Generate()) {
    audit_key_.set_key_id(key_.public_key().Thumbprint());
    audit_key_.set_public_key_pem(key_.public_key().ToPem());
  }
  crypto::EcPrivateKey key_;
  v1::AuditKey audit_key_;
};

TEST_F(CheckpointTest, TextIsOneValueALine) {
  v1::Checkpoint checkpoint = Unsigned();
  checkpoint.set_key_id("k");
  EXPECT_EQ(CheckpointText(checkpoint),
            "postern-checkpoint-v1\npostern.example\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n1000000\nk\n");
}

TEST_F(CheckpointTest, SignedOnesVerifyWithThePublicKey) {
  v1::Checkpoint checkpoint = Unsigned();
  ASSERT_TRUE(SignCheckpoint(key_, checkpoint).ok());
  const auto keys = CheckpointKeys::Make({audit_key_});
  ASSERT_TRUE(keys.ok());
  EXPECT_TRUE(keys->Verify(checkpoint).ok());
}

TEST_F(CheckpointTest, AnyChangeIsAForgery) {
  v1::Checkpoint checkpoint = Unsigned();
  ASSERT_TRUE(SignCheckpoint(key_, checkpoint).ok());
  const auto keys = CheckpointKeys::Make({audit_key_});
  ASSERT_TRUE(keys.ok());
  v1::Checkpoint changed = checkpoint;
  changed.set_tree_size(8);
  EXPECT_EQ(ReasonOf(keys->Verify(changed)), "CHECKPOINT_FORGED");
  changed = checkpoint;
  changed.set_origin("other.example");
  EXPECT_EQ(ReasonOf(keys->Verify(changed)), "CHECKPOINT_FORGED");
  changed = checkpoint;
  (*changed.mutable_root_hash())[3] ^= 1;
  EXPECT_EQ(ReasonOf(keys->Verify(changed)), "CHECKPOINT_FORGED");
  changed = checkpoint;
  changed.mutable_time()->set_seconds(2);
  EXPECT_EQ(ReasonOf(keys->Verify(changed)), "CHECKPOINT_FORGED");
  changed = checkpoint;
  changed.clear_signature();
  EXPECT_EQ(ReasonOf(keys->Verify(changed)), "CHECKPOINT_FORGED");
}

TEST_F(CheckpointTest, AnUnknownKeyIsNamed) {
  v1::Checkpoint checkpoint = Unsigned();
  ASSERT_TRUE(SignCheckpoint(*crypto::EcPrivateKey::Generate(), checkpoint).ok());
  EXPECT_EQ(ReasonOf(CheckpointKeys::Make({audit_key_})->Verify(checkpoint)), "CHECKPOINT_KEY_UNKNOWN");
}

TEST_F(CheckpointTest, AKeyUnderAnotherKeysIdIsRefused) {
  v1::AuditKey other = audit_key_;
  other.set_public_key_pem(crypto::EcPrivateKey::Generate()->public_key().ToPem());
  EXPECT_EQ(ReasonOf(CheckpointKeys::Make({other}).status()), "KEY_MALFORMED");
}

TEST_F(CheckpointTest, ALineBreakCannotBeSmuggledIn) {
  v1::Checkpoint checkpoint = Unsigned();
  checkpoint.set_origin("postern.example\n9");
  EXPECT_EQ(ReasonOf(SignCheckpoint(key_, checkpoint)), "CHECKPOINT_MALFORMED");
}

}  // namespace
}  // namespace postern::audit
