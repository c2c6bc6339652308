// What a damaged spool says of itself when it starts.
#include "sidecar/spool/recovery.h"

#include "gmock/gmock.h"
#include "tests/unit/sidecar/spool/spool_fixture.h"

namespace postern::spool {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RecoveryTest : public SpoolFixture {
 protected:
  // A closed spool of `count` records, over several segments if they are many.
  void Fill(int count) {
    Open();
    for (int i = 1; i <= count; ++i) {
      ASSERT_TRUE(
          spool_->Append(Outcome("tag " + std::to_string(i) + std::string(300, 'x')), Durability::kRelaxed).ok());
      ASSERT_TRUE(spool_->Sync().ok());
    }
    before_ = ReadAll();
    spool_.reset();
  }
  // Opens, and checks that what is there is a prefix of what was, followed by an ALARM in a new epoch. Returns the
  // alarm.
  v1::AuditRecord ExpectPrefixAndAlarm(size_t* kept = nullptr) {
    const absl::Status opened = TryOpen();
    EXPECT_TRUE(opened.ok()) << opened;
    if (!opened.ok()) return {};
    const auto records = ReadAll({before_[0].epoch(), 0});
    EXPECT_FALSE(records.empty());
    if (records.empty()) return {};
    ExpectChained(records);
    for (size_t i = 0; i + 1 < records.size(); ++i) {
      EXPECT_EQ(records[i].SerializeAsString(), before_[i].SerializeAsString()) << i;
    }
    if (kept != nullptr) *kept = records.size() - 1;
    const v1::AuditRecord alarm = Parse(records.back());
    EXPECT_EQ(alarm.kind(), v1::ALARM);
    EXPECT_EQ(alarm.action(), "SPOOL_DAMAGED");
    EXPECT_NE(records.back().epoch(), before_[0].epoch());
    EXPECT_EQ(records.back().sequence(), 1);
    if (records.size() > 1) {
      EXPECT_EQ(alarm.detail().at("epoch"), before_[0].epoch());
      EXPECT_EQ(alarm.detail().at("last_sequence"), std::to_string(records.size() - 1));
    }
    return alarm;
  }
  std::vector<v1::ChainedRecord> before_;
};

TEST_F(RecoveryTest, ATornTailIsCutAtTheLastWholeRecordAndReported) {
  Fill(5);
  const std::string path = FilesEndingIn(".spool").front();
  const std::string bytes = ReadFile(path);
  // The process died within a write: the record's frame is not whole.
  WriteFile(path, bytes.substr(0, bytes.size() - 10));
  size_t kept = 0;
  const v1::AuditRecord alarm = ExpectPrefixAndAlarm(&kept);
  EXPECT_EQ(kept, 4u);
  EXPECT_THAT(alarm.reason(), HasSubstr("ends within a record"));
  const auto aside = FilesEndingIn(".damaged");
  ASSERT_THAT(aside, SizeIs(1));
  EXPECT_THAT(alarm.detail().at("kept_in"), HasSubstr(aside[0]));
  EXPECT_EQ(std::to_string(ReadFile(aside[0]).size()), alarm.detail().at("bytes_set_aside"));
  // Reported once: the next start is a quiet one.
  const auto records = ReadAll({before_[0].epoch(), 0});
  Open();
  EXPECT_THAT(ReadAll({before_[0].epoch(), 0}), SizeIs(records.size()));
}

TEST_F(RecoveryTest, AnyTruncationYieldsAPrefixAndAnAlarm) {
  Fill(30);
  const auto paths = FilesEndingIn(".spool");
  ASSERT_GT(paths.size(), 2u);
  std::filesystem::copy(options_.directory, root_ / "copy", std::filesystem::copy_options::recursive);
  std::mt19937 rng(1);
  for (int round = 0; round < 60; ++round) {
    std::filesystem::remove_all(options_.directory);
    std::filesystem::copy(root_ / "copy", options_.directory, std::filesystem::copy_options::recursive);
    const std::string& path = paths[rng() % paths.size()];
    const std::string bytes = ReadFile(path);
    WriteFile(path, bytes.substr(0, rng() % bytes.size()));
    SCOPED_TRACE(path + " cut");
    ExpectPrefixAndAlarm();
    spool_.reset();
  }
}

TEST_F(RecoveryTest, AnyFlippedBitYieldsAPrefixAndAnAlarm) {
  Fill(30);
  const auto paths = FilesEndingIn(".spool");
  std::filesystem::copy(options_.directory, root_ / "copy", std::filesystem::copy_options::recursive);
  std::mt19937 rng(2);
  for (int round = 0; round < 60; ++round) {
    std::filesystem::remove_all(options_.directory);
    std::filesystem::copy(root_ / "copy", options_.directory, std::filesystem::copy_options::recursive);
    const std::string& path = paths[rng() % paths.size()];
    std::string bytes = ReadFile(path);
    const size_t at = rng() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (rng() % 8)));
    WriteFile(path, bytes);
    SCOPED_TRACE(path + " flipped at " + std::to_string(at));
    ExpectPrefixAndAlarm();
    spool_.reset();
  }
}

TEST_F(RecoveryTest, ATailCutAtARecordBoundaryIsToldByTheLedger) {
  Fill(5);
  const std::string path = FilesEndingIn(".spool").front();
  const std::string bytes = ReadFile(path);
  const size_t last = before_.back().record().size() + kRecordFrameOverhead;
  WriteFile(path, bytes.substr(0, bytes.size() - last));
  EXPECT_THAT(ExpectPrefixAndAlarm().reason(), HasSubstr("the end of epoch"));
}

TEST_F(RecoveryTest, AMissingSegmentEndsTheEpoch) {
  Fill(40);
  const auto paths = FilesEndingIn(".spool");
  ASSERT_GT(paths.size(), 3u);
  std::filesystem::remove(paths[1]);
  const v1::AuditRecord alarm = ExpectPrefixAndAlarm();
  EXPECT_THAT(alarm.reason(), HasSubstr("and the next segment begins with record"));
  EXPECT_THAT(FilesEndingIn(".damaged"), SizeIs(paths.size() - 2));
}

TEST_F(RecoveryTest, AMissingFirstSegmentEndsTheEpoch) {
  Fill(40);
  std::filesystem::remove(FilesEndingIn(".spool").front());
  ASSERT_TRUE(TryOpen().ok());
  const auto records = ReadAll();
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(Parse(records[0]).kind(), v1::ALARM);
  EXPECT_EQ(Parse(records[0]).detail().at("epoch"), before_[0].epoch());
}

TEST_F(RecoveryTest, ALostSpoolStartsANewEpochWithAnAlarm) {
  Fill(5);
  for (const std::string& path : FilesEndingIn(".spool")) std::filesystem::remove(path);
  ASSERT_TRUE(TryOpen().ok());
  const auto records = ReadAll();
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_NE(records[0].epoch(), before_[0].epoch());
  EXPECT_THAT(Parse(records[0]).reason(), HasSubstr("no segment is left"));
}

TEST_F(RecoveryTest, AReorderedRecordIsDamage) {
  Fill(6);
  const std::string path = FilesEndingIn(".spool").front();
  std::string bytes = ReadFile(path);
  // Records 2 and 3 are equally long: swap their frames, CRCs and all.
  const size_t size = before_[1].record().size() + kRecordFrameOverhead;
  SegmentReader reader(bytes);
  SegmentHeader header;
  RecordFrame frame;
  ASSERT_EQ(reader.ReadHeader(header), Read::kWhole);
  ASSERT_EQ(reader.Next(frame), Read::kWhole);
  const size_t at = reader.offset();
  bytes = bytes.substr(0, at) + bytes.substr(at + size, size) + bytes.substr(at, size) + bytes.substr(at + 2 * size);
  WriteFile(path, bytes);
  size_t kept = 0;
  EXPECT_THAT(ExpectPrefixAndAlarm(&kept).reason(), HasSubstr("does not follow the one before it"));
  EXPECT_EQ(kept, 1u);
}

TEST_F(RecoveryTest, WithoutALedgerItStartsFromItsOldestRecord) {
  Fill(5);
  std::filesystem::remove(options_.directory + "/ledger");
  Open();
  EXPECT_THAT(ReadAll(), SizeIs(5));
  EXPECT_THAT(FilesEndingIn(".damaged"), IsEmpty());
}

TEST_F(RecoveryTest, ADamagedLedgerOnlyMeansUploadingAgain) {
  Fill(40);
  Open();
  ASSERT_TRUE(spool_->Acknowledge({before_[0].epoch(), 20}).ok());
  spool_.reset();
  WriteFile(options_.directory + "/ledger", "rubbish");
  Open();
  const auto records = ReadAll();
  ASSERT_FALSE(records.empty());
  EXPECT_LE(records.front().sequence(), 21);
  EXPECT_EQ(records.back().sequence(), 40);
}

TEST_F(RecoveryTest, AStartThatDiesWhileCuttingIsRepeated) {
  Fill(5);
  const std::string path = FilesEndingIn(".spool").front();
  WriteFile(path, ReadFile(path).substr(0, ReadFile(path).size() - 10));
  files_.FailNext("truncate", IoError());
  EXPECT_EQ(ReasonOf(TryOpen()), "SPOOL_FAILED");
  ExpectPrefixAndAlarm();
}

TEST_F(RecoveryTest, DamageFoundWhileRunningIsAnErrorNotARecord) {
  Open();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(spool_->Append(Outcome("x"), Durability::kRelaxed).ok());
  ASSERT_TRUE(spool_->Sync().ok());
  const std::string path = FilesEndingIn(".spool").front();
  std::string bytes = ReadFile(path);
  bytes[bytes.size() - 5] ^= 1;
  WriteFile(path, bytes);
  EXPECT_EQ(ReasonOf(spool_->Read(spool_->acknowledged(), 100000).status()), "SPOOL_DAMAGED");
}

TEST_F(RecoveryTest, ADirectoryThatCannotBeReadIsAnErrorNotAnEmptySpool) {
  Fill(3);
  files_.FailNext("list", IoError());
  EXPECT_EQ(ReasonOf(TryOpen()), "SPOOL_FAILED");
  files_.FailNext("read", IoError());
  EXPECT_EQ(ReasonOf(TryOpen()), "SPOOL_FAILED");
  Open();
  EXPECT_THAT(ReadAll(), SizeIs(3));
}

}  // namespace
}  // namespace postern::spool
