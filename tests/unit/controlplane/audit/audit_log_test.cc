#include "controlplane/audit/audit_log.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "common/audit/parts.h"
#include "tests/unit/controlplane/audit/audit_fixture.h"

namespace postern::audit {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using AuditLogTest = AuditFixture;

TEST_F(AuditLogTest, TakesAWritersChainAndAnswersHowFar) {
  const IngestResult result = log_->Ingest("sdc_a", More("sdc_a", 5));
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.epoch, "e1");
  EXPECT_EQ(result.committed_sequence, 5);
  EXPECT_EQ(log_->size(), 5);
  const auto all = All();
  ASSERT_THAT(all, SizeIs(5));
  EXPECT_EQ(all[4].leaf_index(), 4);
  EXPECT_EQ(all[4].chained().sequence(), 5);
  EXPECT_EQ(all[4].chained().writer(), "sdc_a");
}

TEST_F(AuditLogTest, WhatItHasAlreadyIsNotTakenTwice) {
  const auto first = More("sdc_a", 5);
  ASSERT_TRUE(log_->Ingest("sdc_a", first).status.ok());
  auto again = first;
  for (const auto& record : More("sdc_a", 2)) again.push_back(record);
  Restart();
  const IngestResult result = log_->Ingest("sdc_a", again);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.committed_sequence, 7);
  EXPECT_EQ(log_->size(), 7);
  EXPECT_THAT(Alarms(), IsEmpty());
  EXPECT_TRUE(Verify().ok());
}

TEST_F(AuditLogTest, AGapIsRefusedAfterTheGoodPrefixWithAnAlarm) {
  auto records = More("sdc_a", 5);
  records.erase(records.begin() + 2);
  IngestResult result = log_->Ingest("sdc_a", records);
  EXPECT_EQ(ReasonOf(result.status), "CHAIN_GAP");
  EXPECT_EQ(result.committed_sequence, 2);
  auto alarms = Alarms();
  ASSERT_THAT(alarms, SizeIs(1));
  EXPECT_EQ(alarms[0].action(), "AUDIT_REFUSED");
  EXPECT_EQ(alarms[0].object(), "sdc_a");
  EXPECT_EQ(alarms[0].reason_code(), "CHAIN_GAP");
  EXPECT_EQ(alarms[0].detail().at("sequence"), "4");
  // Trying again raises no second alarm.
  EXPECT_EQ(ReasonOf(log_->Ingest("sdc_a", records).status), "CHAIN_GAP");
  EXPECT_THAT(Alarms(), SizeIs(1));
  EXPECT_TRUE(Verify().ok());
}

TEST_F(AuditLogTest, AnAlteredRecordIsRefused) {
  auto records = More("sdc_a", 3);
  records[1].set_record("something else");
  const IngestResult result = log_->Ingest("sdc_a", records);
  EXPECT_EQ(ReasonOf(result.status), "CHAIN_MISMATCH");
  EXPECT_EQ(result.committed_sequence, 1);
  EXPECT_THAT(Alarms(), SizeIs(1));
}

TEST_F(AuditLogTest, ARecordThatContradictsOneInTheLogIsRefused) {
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  Chain rewritten("sdc_a", "e1");
  const IngestResult result = log_->Ingest("sdc_a", {rewritten.Append("another first record")});
  EXPECT_EQ(ReasonOf(result.status), "CHAIN_MISMATCH");
  EXPECT_EQ(result.epoch, "");
  EXPECT_THAT(Alarms(), SizeIs(1));
}

TEST_F(AuditLogTest, ASidecarCannotWriteForAnother) {
  EXPECT_EQ(ReasonOf(log_->Ingest("sdc_a", More("sdc_b", 1)).status), "AUDIT_WRONG_WRITER");
  EXPECT_EQ(ReasonOf(log_->Ingest("controlplane", More("controlplane", 1)).status), "AUDIT_WRONG_WRITER");
  EXPECT_THAT(Alarms(), SizeIs(2));
}

TEST_F(AuditLogTest, MalformedRecordsAreRefused) {
  auto records = More("sdc_a", 1);
  records[0].set_epoch("e 1\n");
  EXPECT_EQ(ReasonOf(log_->Ingest("sdc_a", records).status), "RECORD_MALFORMED");
  records = More("sdc_a", 1, "e2");
  records[0].set_chain_hash("short");
  EXPECT_EQ(ReasonOf(log_->Ingest("sdc_a", records).status), "RECORD_MALFORMED");
  records = More("sdc_a", 1, "e3");
  records[0].set_sequence(-1);
  EXPECT_EQ(ReasonOf(log_->Ingest("sdc_a", records).status), "CHAIN_GAP");
}

TEST_F(AuditLogTest, BytesThatAreNoRecordAreKeptAsEvidence) {
  Chain chain("sdc_a", "e1");
  ASSERT_TRUE(log_->Ingest("sdc_a", {chain.Append("\xff\xff no message")}).status.ok());
  EXPECT_EQ(All()[0].chained().record(), "\xff\xff no message");
  EXPECT_TRUE(Verify().ok());
}

TEST_F(AuditLogTest, ANewEpochIsTakenAndTold) {
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  EXPECT_THAT(Alarms(), IsEmpty());
  const IngestResult result = log_->Ingest("sdc_a", More("sdc_a", 2, "e2"));
  ASSERT_TRUE(result.status.ok());
  EXPECT_EQ(result.epoch, "e2");
  EXPECT_EQ(result.committed_sequence, 2);
  const auto alarms = Alarms();
  ASSERT_THAT(alarms, SizeIs(1));
  EXPECT_EQ(alarms[0].action(), "AUDIT_NEW_EPOCH");
  EXPECT_EQ(alarms[0].detail().at("previous_epoch"), "e1");
  EXPECT_EQ(alarms[0].detail().at("previous_sequence"), "3");
}

TEST_F(AuditLogTest, ABatchMayCrossEpochs) {
  auto records = More("sdc_a", 2);
  for (const auto& record : More("sdc_a", 2, "e2")) records.push_back(record);
  const IngestResult result = log_->Ingest("sdc_a", records);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.epoch, "e2");
  EXPECT_TRUE(Verify().ok());
}

TEST_F(AuditLogTest, AStoreThatFailsTakesNothing) {
  const auto records = More("sdc_a", 3);
  database_.FailNext(Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", "disk full"));
  const IngestResult failed = log_->Ingest("sdc_a", records);
  EXPECT_EQ(ReasonOf(failed.status), "STORE_UNAVAILABLE");
  EXPECT_EQ(failed.committed_sequence, 0);
  EXPECT_EQ(log_->size(), 0);
  EXPECT_THAT(Alarms(), IsEmpty());
  database_.FailNext(Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", "disk full"));
  EXPECT_EQ(ReasonOf(log_->Record(Statement("act"))), "STORE_UNAVAILABLE");
  EXPECT_TRUE(log_->Ingest("sdc_a", records).status.ok());
  EXPECT_TRUE(Verify().ok());
}

TEST_F(AuditLogTest, TheControlPlanesOwnActsAreAChainThatGoesOnAfterARestart) {
  v1::AuditRecord act;
  act.set_kind(v1::CONTROL);
  act.set_action("TokenService/MintToken");
  ASSERT_TRUE(log_->Record(act).ok());
  Restart();
  ASSERT_TRUE(log_->Record(act).ok());
  const auto all = All();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].chained().writer(), "controlplane");
  EXPECT_EQ(all[1].chained().sequence(), 2);
  EXPECT_EQ(all[0].chained().epoch(), all[1].chained().epoch());
  v1::AuditRecord read;
  ASSERT_TRUE(read.ParseFromString(all[0].chained().record()));
  EXPECT_EQ(read.time().seconds(), absl::ToUnixSeconds(clock_.Now()));
  EXPECT_TRUE(Verify().ok());
}

TEST_F(AuditLogTest, ALargeActIsSplitNotCut) {
  const v1::AuditRecord large = Statement(std::string(700000, 's'));
  ASSERT_TRUE(log_->Record(large).ok());
  std::vector<v1::AuditRecord> parts;
  for (const auto& logged : All()) EXPECT_TRUE(parts.emplace_back().ParseFromString(logged.chained().record()));
  ASSERT_GT(parts.size(), 2u);
  EXPECT_EQ(SerializeRecord(*JoinParts(parts)), SerializeRecord(large));
}

TEST_F(AuditLogTest, WritersAtTheSameTimeMakeOneTree) {
  std::vector<std::thread> threads;
  std::vector<std::vector<v1::ChainedRecord>> batches;
  for (int w = 0; w < 4; ++w) batches.push_back(More("sdc_" + std::to_string(w), 60));
  for (int w = 0; w < 4; ++w) {
    threads.emplace_back([this, &batch = batches[w], w] {
      for (size_t at = 0; at < batch.size(); at += 20) {
        const IngestResult result =
            log_->Ingest("sdc_" + std::to_string(w), {batch.begin() + at, batch.begin() + at + 20});
        ASSERT_TRUE(result.status.ok()) << result.status;
        ASSERT_TRUE(log_->Record(Statement("act")).ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(log_->size(), 4 * 63);
  const VerifyReport report = Verify();
  EXPECT_TRUE(report.ok()) << report.finding->text;
  EXPECT_EQ(report.records, 4 * 63);
  EXPECT_EQ(report.chains, 5);
}

TEST_F(AuditLogTest, ACheckpointIsSignedWhenTheTreeGrew) {
  const v1::Checkpoint empty = log_->checkpoint();
  EXPECT_EQ(empty.tree_size(), 0);
  EXPECT_EQ(empty.origin(), "test");
  interval_ = absl::Milliseconds(1);
  Restart();
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  while (log_->checkpoint().tree_size() < 3) std::this_thread::yield();
  const auto keys = CheckpointKeys::Make(*log_->Keys());
  ASSERT_TRUE(keys.ok());
  EXPECT_TRUE(keys->Verify(log_->checkpoint()).ok());
  const v1::Checkpoint before = log_->checkpoint();
  Restart();
  EXPECT_EQ(log_->checkpoint().SerializeAsString(), before.SerializeAsString());
}

TEST_F(AuditLogTest, OnDemandACheckpointCoversEverything) {
  interval_ = absl::Hours(1);
  Restart();
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  const auto checkpoint = log_->CheckpointNow();
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint->tree_size(), 6);
}

TEST_F(AuditLogTest, OldKeysStayInTheExport) {
  ASSERT_TRUE(log_->Record(Statement("signed by the old key")).ok());
  ASSERT_TRUE(log_->CheckpointNow().ok());
  log_.reset();
  key_ = *crypto::EcPrivateKey::Generate();
  Start();
  ASSERT_TRUE(log_->Record(Statement("signed by the new key")).ok());
  EXPECT_THAT(*log_->Keys(), SizeIs(2));
  const VerifyReport report = Verify();
  EXPECT_TRUE(report.ok()) << report.finding->text;
}

TEST_F(AuditLogTest, AStoreThatWasPutBackBehindItsCheckpointIsRefused) {
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  ASSERT_TRUE(log_->CheckpointNow().ok());
  log_.reset();
  ASSERT_TRUE(database_
                  ->Write([](store::Connection& db) {
                    const absl::Status cut = db.Script("DELETE FROM audit_leaves WHERE leaf = 2");
                    if (!cut.ok()) return cut;
                    return db.Run("UPDATE audit_tree SET size = 2, frontier = ?", store::Blob{std::string(32, '\0')});
                  })
                  .ok());
  EXPECT_EQ(ReasonOf(TryStart().status()), "AUDIT_ROLLED_BACK");
}

TEST_F(AuditLogTest, SubscribersAreToldOfEachCommit) {
  int told = 0;
  auto subscription = log_->Subscribe([&told] { ++told; });
  ASSERT_TRUE(log_->Record(Statement("one")).ok());
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
  EXPECT_EQ(told, 2);
  subscription.reset();
  ASSERT_TRUE(log_->Record(Statement("two")).ok());
  EXPECT_EQ(told, 2);
}

// Tampering with the store itself.

class TamperedStore : public AuditFixture {
 protected:
  TamperedStore() {
    EXPECT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 6)).status.ok());
    EXPECT_TRUE(log_->Ingest("sdc_b", More("sdc_b", 6)).status.ok());
    EXPECT_TRUE(log_->CheckpointNow().ok());
  }
  Finding Tamper(const std::string& sql) {
    EXPECT_TRUE(database_->Write([&](store::Connection& db) { return db.Script(sql); }).ok());
    const VerifyReport report = Verify();
    EXPECT_FALSE(report.ok());
    return report.finding.value_or(Finding{});
  }
};

TEST_F(TamperedStore, AnAlteredBodyIsNamed) {
  const Finding finding = Tamper("UPDATE audit_leaves SET record = substr(record, 2) WHERE leaf = 7");
  EXPECT_EQ(finding.damage, Damage::kAltered);
  EXPECT_EQ(finding.leaf, 7);
  EXPECT_EQ(finding.writer, "sdc_b");
  EXPECT_EQ(finding.sequence, 2);
}

TEST_F(TamperedStore, ARemovedRowIsNamed) {
  const Finding finding = Tamper("DELETE FROM audit_leaves WHERE leaf = 3");
  EXPECT_EQ(finding.damage, Damage::kMissing);
  EXPECT_EQ(finding.leaf, 3);
}

TEST_F(TamperedStore, ACutTailIsNamed) {
  const Finding finding = Tamper("DELETE FROM audit_leaves WHERE leaf >= 9");
  EXPECT_EQ(finding.damage, Damage::kCut);
  EXPECT_EQ(finding.leaf, 9);
}

TEST_F(TamperedStore, SwappedRowsAreNamed) {
  const Finding finding = Tamper(
      "UPDATE audit_leaves SET leaf = 100 WHERE leaf = 3; UPDATE audit_leaves SET leaf = 3 WHERE leaf = 4;"
      "UPDATE audit_leaves SET leaf = 4 WHERE leaf = 100");
  EXPECT_EQ(finding.damage, Damage::kMoved);
  EXPECT_EQ(finding.writer, "sdc_a");
  EXPECT_EQ(finding.sequence, 4);
}

TEST_F(TamperedStore, AForgedCheckpointIsNamed) {
  // Signed by a key that the attacker put beside the real one: found by who has the real one.
  VerifyOptions options;
  options.trusted_keys = *log_->Keys();
  log_.reset();
  key_ = *crypto::EcPrivateKey::Generate();
  Start();
  ASSERT_TRUE(log_->Record(Statement("forged")).ok());
  const VerifyReport report = Verify(0, options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kForged);
}

TEST_F(TamperedStore, RetentionOfBodiesIsNoTampering) {
  ASSERT_TRUE(
      database_
          ->Write([](store::Connection& db) { return db.Run("UPDATE audit_leaves SET record = NULL WHERE leaf < 5"); })
          .ok());
  const VerifyReport report = Verify();
  EXPECT_TRUE(report.ok()) << report.finding->text;
  EXPECT_EQ(report.without_body, 5);
}

}  // namespace
}  // namespace postern::audit
