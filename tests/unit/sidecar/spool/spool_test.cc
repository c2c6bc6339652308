#include "sidecar/spool/spool.h"

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "common/audit/parts.h"
#include "gmock/gmock.h"
#include "sidecar/spool/segment.h"
#include "tests/unit/sidecar/spool/spool_fixture.h"

namespace postern::spool {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using SpoolTest = SpoolFixture;

absl::Status AwaitDurable(Spool& spool, Ticket ticket) {
  absl::Status result;
  absl::Notification done;
  spool.WhenDurable(ticket, [&](absl::Status status) {
    result = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

// Appends until the disk's failure shows and gates are refused; how many were taken.
int AppendUntilRefused(Spool& spool) {
  for (int taken = 0;; ++taken) {
    if (!spool.Append(Intent("select " + std::to_string(taken)), Durability::kRelaxed).ok()) return taken;
    spool.Flush().IgnoreError();
  }
}

TEST_F(SpoolTest, WhatIsAppendedIsReadBackInOrderAndChained) {
  Open();
  EXPECT_EQ(spool_->Append(Intent("select 1"), Durability::kRelaxed)->sequence, 1);
  EXPECT_EQ(spool_->Append(Outcome("SELECT 1"), Durability::kRelaxed)->sequence, 2);
  ASSERT_TRUE(spool_->Sync().ok());
  const auto records = ReadAll();
  ASSERT_THAT(records, SizeIs(2));
  ExpectChained(records);
  EXPECT_EQ(records[0].writer(), "sdc_test");
  EXPECT_EQ(Parse(records[0]).sql(), "select 1");
  EXPECT_EQ(Parse(records[1]).command_tag(), "SELECT 1");
}

TEST_F(SpoolTest, FlushHandsAllToTheKernelInOneWrite) {
  Open();
  const size_t before = files_.log().size();
  files_.HoldSyncs();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(spool_->Append(Intent("select 1"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Flush().ok());
  EXPECT_EQ(spool_->stats().written, 10);
  const auto log = files_.log();
  EXPECT_EQ(std::count(log.begin() + static_cast<long>(before), log.end(), "append 0000000000000001.spool"), 1);
  files_.ReleaseSyncs();
}

TEST_F(SpoolTest, ATimeIsSetWhereNoneIs) {
  Open();
  v1::AuditRecord record = Intent("select 1");
  record.clear_time();
  ASSERT_TRUE(spool_->Append(record, Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  EXPECT_GT(Parse(ReadAll()[0]).time().seconds(), 0);
}

TEST_F(SpoolTest, AStrictRecordIsDurableOnlyAfterTheSync) {
  Open();
  files_.HoldSyncs();
  const auto ticket = spool_->Append(Intent("delete from t"), Durability::kStrict);
  ASSERT_TRUE(ticket.ok());
  absl::Notification done;
  spool_->WhenDurable(*ticket, [&](absl::Status status) {
    EXPECT_TRUE(status.ok());
    done.Notify();
  });
  files_.WaitForHeldSyncs(1);
  EXPECT_FALSE(done.HasBeenNotified());
  EXPECT_EQ(spool_->stats().durable, 0);
  files_.ReleaseSyncs();
  done.WaitForNotification();
  EXPECT_EQ(spool_->stats().durable, 1);
}

TEST_F(SpoolTest, StrictRecordsThatGatherDuringASyncShareTheNext) {
  Open();
  files_.HoldSyncs();
  ASSERT_TRUE(spool_->Append(Intent("one"), Durability::kStrict).ok());
  files_.WaitForHeldSyncs(1);
  const int64_t before = spool_->stats().syncs;
  Ticket last;
  for (int i = 0; i < 50; ++i) last = *spool_->Append(Intent("more"), Durability::kStrict);
  files_.ReleaseSyncs();
  EXPECT_TRUE(AwaitDurable(*spool_, last).ok());
  EXPECT_LE(spool_->stats().syncs - before, 2);
}

TEST_F(SpoolTest, OnlyWhatIsOnTheDiskIsReadable) {
  Open();
  files_.HoldSyncs();
  ASSERT_TRUE(spool_->Append(Intent("select 1"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Flush().ok());
  EXPECT_THAT(ReadAll(), IsEmpty());
  files_.ReleaseSyncs();
  ASSERT_TRUE(spool_->Sync().ok());
  EXPECT_THAT(ReadAll(), SizeIs(1));
}

TEST_F(SpoolTest, RelaxedRecordsBecomeReadableByThemselvesAndTheListenerIsTold) {
  Open();
  absl::Notification told;
  spool_->SetListener([&] {
    if (!told.HasBeenNotified()) told.Notify();
  });
  ASSERT_TRUE(spool_->Append(Intent("select 1"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Flush().ok());
  told.WaitForNotification();
  spool_->SetListener(nullptr);
  EXPECT_THAT(ReadAll(), SizeIs(1));
}

TEST_F(SpoolTest, SeveralThreadsAppendOneChain) {
  Open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 500; ++i) {
        auto ticket = spool_->Append(Intent("select 1"), i % 50 == t ? Durability::kStrict : Durability::kRelaxed);
        ASSERT_TRUE(ticket.ok());
        if (i % 7 == 0) {
          ASSERT_TRUE(spool_->Flush().ok());
        }
        if (i % 50 == t) {
          ASSERT_TRUE(AwaitDurable(*spool_, *ticket).ok());
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(spool_->Sync().ok());
  const auto records = ReadAll();
  EXPECT_THAT(records, SizeIs(2000));
  ExpectChained(records);
}

TEST_F(SpoolTest, ItGoesOnInTheSameEpochAfterARestart) {
  Open();
  ASSERT_TRUE(spool_->Append(Intent("one"), Durability::kRelaxed).ok());
  Open();
  EXPECT_EQ(spool_->Append(Intent("two"), Durability::kRelaxed)->sequence, 2);
  Open();
  ASSERT_TRUE(spool_->Sync().ok());
  const auto records = ReadAll();
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[0].epoch(), records[1].epoch());
  ExpectChained(records);
}

TEST_F(SpoolTest, ManyRestartsLeaveNoHeapOfEmptySegments) {
  for (int i = 0; i < 10; ++i) Open();
  EXPECT_LE(FilesEndingIn(".spool").size(), 2u);
}

TEST_F(SpoolTest, ALargeRecordIsSplitNeverCut) {
  Open();
  const v1::AuditRecord large = Intent(std::string(200000, 's'));
  ASSERT_TRUE(spool_->Append(large, Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Append(Intent("next"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  auto records = ReadAll();
  ASSERT_GT(records.size(), 12u);
  ExpectChained(records);
  records.pop_back();
  std::vector<v1::AuditRecord> parts;
  for (const auto& record : records) {
    EXPECT_LE(record.record().size(), options_.max_record_bytes);
    parts.push_back(Parse(record));
  }
  EXPECT_EQ(audit::SerializeRecord(*audit::JoinParts(parts)), audit::SerializeRecord(large));
}

TEST_F(SpoolTest, ReadStopsAtMaxBytesButGivesAtLeastOne) {
  Open();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(spool_->Append(Intent(std::string(1000, 's')), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  EXPECT_THAT(*spool_->Read(spool_->acknowledged(), 1), SizeIs(1));
  EXPECT_THAT(*spool_->Read(spool_->acknowledged(), 3500), SizeIs(3));
}

TEST_F(SpoolTest, APositionThatItNeverWroteIsNotFound) {
  Open();
  ASSERT_TRUE(spool_->Append(Intent("one"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  const std::string epoch = spool_->acknowledged().epoch;
  EXPECT_EQ(ReasonOf(spool_->Read({epoch, 2}, 100).status()), "SPOOL_POSITION");
  EXPECT_EQ(ReasonOf(spool_->Read({"other", 0}, 100).status()), "SPOOL_POSITION");
  EXPECT_EQ(ReasonOf(spool_->Acknowledge({epoch, 2})), "SPOOL_POSITION");
  EXPECT_EQ(ReasonOf(spool_->Acknowledge({"other", 1})), "SPOOL_POSITION");
}

TEST_F(SpoolTest, AcknowledgedSegmentsGoAfterTheLedgerSaysSo) {
  Open();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(spool_->Append(Intent(std::string(1000, 's')), Durability::kRelaxed).ok());
    ASSERT_TRUE(spool_->Sync().ok());
  }
  const auto before = FilesEndingIn(".spool");
  ASSERT_GT(before.size(), 5u);
  const std::string epoch = spool_->acknowledged().epoch;
  const size_t mark = files_.log().size();
  ASSERT_TRUE(spool_->Acknowledge({epoch, 20}).ok());
  const auto all = files_.log();
  const std::vector<std::string> log(all.begin() + static_cast<long>(mark), all.end());
  const auto ledger = std::find(log.begin(), log.end(), "rename ledger.next");
  const auto synced = std::find(ledger, log.end(), "syncdir spool");
  const auto unlink = std::find(log.begin(), log.end(), "unlink 0000000000000001.spool");
  ASSERT_NE(unlink, log.end());
  EXPECT_LT(synced, unlink);
  EXPECT_LT(FilesEndingIn(".spool").size(), before.size());
  EXPECT_EQ(spool_->acknowledged(), (Position{epoch, 20}));
  EXPECT_THAT(ReadAll(), SizeIs(20));
  // Acknowledging again, or less, changes nothing.
  ASSERT_TRUE(spool_->Acknowledge({epoch, 3}).ok());
  EXPECT_EQ(spool_->acknowledged(), (Position{epoch, 20}));
  // Remembered over a restart, and the chain goes on.
  Open();
  EXPECT_EQ(spool_->acknowledged(), (Position{epoch, 20}));
  EXPECT_EQ(spool_->Append(Intent("next"), Durability::kRelaxed)->sequence, 41);
  ASSERT_TRUE(spool_->Sync().ok());
  EXPECT_EQ(ReadAll().front().sequence(), 21);
}

TEST_F(SpoolTest, ASegmentStaysIfTheLedgerCannotBeWritten) {
  Open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(spool_->Append(Intent(std::string(1000, 's')), Durability::kRelaxed).ok());
    ASSERT_TRUE(spool_->Sync().ok());
  }
  const auto before = FilesEndingIn(".spool");
  files_.FailNext("rename", IoError());
  EXPECT_EQ(ReasonOf(spool_->Acknowledge({spool_->acknowledged().epoch, 10})), "SPOOL_FAILED");
  EXPECT_EQ(FilesEndingIn(".spool"), before);
}

TEST_F(SpoolTest, ASecondProcessIsRefused) {
  Open();
  const auto second = Spool::Open(options_, files_, Clock::System(), Random::System());
  EXPECT_EQ(ReasonOf(second.status()), "SPOOL_IN_USE");
}

TEST_F(SpoolTest, TheSpoolOfAnotherSidecarIsRefused) {
  Open();
  options_.writer = "sdc_other";
  EXPECT_EQ(ReasonOf(TryOpen()), "SPOOL_OTHER_WRITER");
}

TEST_F(SpoolTest, OptionsThatCannotWorkAreRefused) {
  const Options good = options_;
  options_.max_bytes = options_.segment_bytes;
  EXPECT_EQ(ReasonOf(TryOpen()), "INVALID_ARGUMENT");
  options_ = good;
  options_.writer.clear();
  EXPECT_EQ(ReasonOf(TryOpen()), "INVALID_ARGUMENT");
  options_ = good;
  options_.max_record_bytes = kMaxPayload;
  EXPECT_EQ(ReasonOf(TryOpen()), "INVALID_ARGUMENT");
}

// --- Full and failing disks ---

TEST_F(SpoolTest, AtItsLimitGatesAreRefusedAndFactsTaken) {
  options_.max_bytes = 5 * 4096;
  Open();
  const int taken = AppendUntilRefused(*spool_);
  ASSERT_GT(taken, 10);
  const auto refused = spool_->Append(Intent("select"), Durability::kRelaxed);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), "SPOOL_FULL");
  EXPECT_GT(spool_->stats().refused, 0);
  EXPECT_TRUE(spool_->Append(Outcome("UPDATE 1"), Durability::kRelaxed).ok());
  // The control plane takes some: statements go on.
  ASSERT_TRUE(spool_->Sync().ok());
  const auto records = ReadAll();
  EXPECT_THAT(records, SizeIs(taken + 1));
  ASSERT_TRUE(spool_->Acknowledge({records.back().epoch(), records.back().sequence()}).ok());
  EXPECT_TRUE(spool_->Append(Intent("select"), Durability::kRelaxed).ok());
}

TEST_F(SpoolTest, AFullDiskStopsGatesKeepsFactsAndLosesNothing) {
  Open();
  files_.SetCapacity(6000);
  const int taken = AppendUntilRefused(*spool_);
  const auto refused = spool_->Append(Intent("select"), Durability::kRelaxed);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), "SPOOL_FULL");
  EXPECT_EQ(ReasonOf(spool_->Flush()), "SPOOL_FULL");
  EXPECT_EQ(ReasonOf(spool_->stats().health), "SPOOL_FULL");
  const auto fact = spool_->Append(Outcome("SELECT 3"), Durability::kRelaxed);
  ASSERT_TRUE(fact.ok());
  EXPECT_EQ(ReasonOf(AwaitDurable(*spool_, *fact)), "SPOOL_FULL");

  absl::Notification works;
  spool_->SetListener([&] {
    if (!works.HasBeenNotified()) works.Notify();
  });
  files_.SetCapacity(-1);
  works.WaitForNotification();
  spool_->SetListener(nullptr);
  EXPECT_TRUE(spool_->Append(Intent("go on"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  const auto records = ReadAll();
  ASSERT_THAT(records, SizeIs(taken + 2));
  ExpectChained(records);
  Open();
  EXPECT_THAT(FilesEndingIn(".damaged"), IsEmpty());
  const auto reopened = ReadAll();
  ASSERT_THAT(reopened, SizeIs(taken + 2));
  EXPECT_EQ(Parse(reopened.back()).sql(), "go on");
}

TEST_F(SpoolTest, FactsAreRefusedOnlyWhenTheReserveIsUsedUp) {
  options_.reserve_bytes = 65536;
  Open();
  files_.SetFault([](const std::string& operation, const std::string&) {
    return operation == "append" || operation == "create" ? IoError() : absl::OkStatus();
  });
  AppendUntilRefused(*spool_);
  int facts = 0;
  absl::StatusOr<Ticket> fact;
  while ((fact = spool_->Append(Outcome(std::string(500, 'x')), Durability::kRelaxed)).ok()) ++facts;
  EXPECT_GT(facts, 65536 / 600);
  EXPECT_EQ(ReasonOf(fact.status()), "SPOOL_FULL");
  files_.SetFault(nullptr);
}

TEST_F(SpoolTest, AWriteErrorRefusesGatesAsUnavailable) {
  Open();
  files_.SetFault([](const std::string& operation, const std::string&) {
    return operation == "append" || operation == "create" ? IoError() : absl::OkStatus();
  });
  ASSERT_TRUE(spool_->Append(Intent("one"), Durability::kRelaxed).ok());
  const absl::Status flushed = spool_->Flush();
  EXPECT_EQ(flushed.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(flushed), "SPOOL_FAILED");
  EXPECT_EQ(ReasonOf(spool_->Append(Intent("two"), Durability::kRelaxed).status()), "SPOOL_FAILED");
  files_.SetFault(nullptr);
  while (!spool_->stats().health.ok()) std::this_thread::yield();
  EXPECT_TRUE(spool_->Append(Intent("three"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  const auto records = ReadAll();
  ExpectChained(records);
  // "one" was announced, refused, and is told all the same; "two" never entered the chain.
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(Parse(records[0]).sql(), "one");
  EXPECT_EQ(Parse(records[1]).sql(), "three");
}

TEST_F(SpoolTest, AfterAFailedSyncTheFileIsNotTrustedAgain) {
  Open();
  ASSERT_TRUE(spool_->Append(Intent("before"), Durability::kStrict).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  files_.FailNext("sync", IoError());  // and what was not synced reads as zeros, as Linux does it
  const auto ticket = spool_->Append(Intent("lost by the kernel"), Durability::kStrict);
  EXPECT_EQ(ReasonOf(AwaitDurable(*spool_, *ticket)), "SPOOL_FAILED");
  while (!spool_->stats().health.ok()) std::this_thread::yield();
  ASSERT_TRUE(spool_->Append(Intent("after"), Durability::kStrict).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  for (int round = 0; round < 2; ++round) {
    const auto records = ReadAll();
    ASSERT_THAT(records, SizeIs(3));
    ExpectChained(records);
    EXPECT_EQ(Parse(records[1]).sql(), "lost by the kernel");
    Open();
  }
  EXPECT_EQ(spool_->stats().failures, 0);
}

TEST_F(SpoolTest, ASegmentThatCannotEvenBeCutAfterAFailedSyncIsSuperseded) {
  Open();
  ASSERT_TRUE(spool_->Append(Intent("before"), Durability::kStrict).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  files_.SetFault([](const std::string& operation, const std::string&) {
    return operation == "truncate" || operation == "unlink" ? IoError() : absl::OkStatus();
  });
  files_.FailNext("sync", IoError());
  const auto ticket = spool_->Append(Intent("again"), Durability::kStrict);
  EXPECT_FALSE(AwaitDurable(*spool_, *ticket).ok());
  while (!spool_->stats().health.ok()) std::this_thread::yield();
  ASSERT_TRUE(spool_->Append(Intent("after"), Durability::kStrict).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  files_.SetFault(nullptr);
  Open();
  const auto records = ReadAll();
  ASSERT_THAT(records, SizeIs(3));
  ExpectChained(records);
  EXPECT_THAT(FilesEndingIn(".damaged"), IsEmpty());
}

TEST_F(SpoolTest, RandomFailuresNeverLoseOrReorderARecord) {
  std::mt19937 rng(11);
  for (int round = 0; round < 15; ++round) {
    Open();
    std::atomic<int> countdown = 0;
    std::mutex rng_mu;
    files_.SetFault([&](const std::string& operation, const std::string&) {
      if (operation == "open" || operation == "list" || operation == "read") return absl::OkStatus();
      std::lock_guard lock(rng_mu);
      if (rng() % 20 != 0) return absl::OkStatus();
      return rng() % 2 == 0 ? NoSpace() : IoError();
    });
    std::vector<std::string> promised;
    for (int i = 0; i < 120; ++i) {
      const std::string tag = std::to_string(round) + "/" + std::to_string(i);
      auto ticket = spool_->Append(Outcome(tag), Durability::kStrict);
      ASSERT_TRUE(ticket.ok()) << ticket.status();
      promised.push_back(tag);
      if (i % 5 == 0) spool_->Flush().IgnoreError();
      if (i % 11 == 0) AwaitDurable(*spool_, *ticket).IgnoreError();
    }
    files_.SetFault(nullptr);
    while (!spool_->Sync().ok()) std::this_thread::yield();
    for (int twice = 0; twice < 2; ++twice) {
      const auto records = ReadAll();
      ExpectChained(records);
      std::vector<std::string> got;
      for (const auto& record : records) {
        if (Parse(record).command_tag().starts_with(std::to_string(round) + "/")) {
          got.push_back(Parse(record).command_tag());
        }
      }
      ASSERT_EQ(got, promised) << "round " << round;
      Open();
    }
  }
}

TEST_F(SpoolTest, APowerCutTakesNothingThatWasCalledDurable) {
  std::mt19937 rng(5);
  std::vector<std::string> durable;
  for (int round = 0; round < 25; ++round) {
    Open();
    std::mutex mu;
    for (int i = 0; i < 60; ++i) {
      const std::string tag = std::to_string(round) + "/" + std::to_string(i);
      const bool strict = rng() % 3 == 0;
      const auto ticket = spool_->Append(Outcome(tag), strict ? Durability::kStrict : Durability::kRelaxed);
      ASSERT_TRUE(ticket.ok());
      ASSERT_TRUE(spool_->Flush().ok());
      if (!strict) continue;
      spool_->WhenDurable(*ticket, [&mu, &durable, tag](absl::Status status) {
        std::lock_guard lock(mu);
        if (status.ok()) durable.push_back(tag);
      });
    }
    // The power goes: from here on nothing reaches the disk, and the process is gone without its farewells.
    files_.SetFault([](const std::string&, const std::string&) { return IoError(); });
    spool_.reset();
    files_.SetFault(nullptr);
    files_.PowerCut([&rng](uint64_t n) { return rng() % n; });
    ASSERT_TRUE(TryOpen().ok());
    const auto records = ReadAll();
    ExpectChained(records);
    std::set<std::string> there;
    for (const auto& record : records) there.insert(Parse(record).command_tag());
    for (const std::string& tag : durable) ASSERT_THAT(there, Contains(tag));
  }
}

}  // namespace
}  // namespace postern::spool
