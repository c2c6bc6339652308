// Tampering with an exported log, one way a test: each is found, and the first record concerned is named.
#include "common/audit/verify.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::audit {
namespace {

using ::testing::HasSubstr;
using Items = std::vector<v1::ExportAuditResponse>;

// A log of two sidecars' records taking turns, with a checkpoint after every four.
class Log {
 public:
  Log() : key_(*crypto::EcPrivateKey::Generate()) {
    public_key_.set_key_id(key_.public_key().Thumbprint());
    public_key_.set_public_key_pem(key_.public_key().ToPem());
  }

  void Add(const std::string& writer, const std::string& body) {
    auto chain = chains_.try_emplace(writer, writer, "e1").first;
    v1::LoggedRecord record;
    *record.mutable_chained() = chain->second.Append(body);
    Log_(std::move(record));
  }
  void Log_(v1::LoggedRecord record) {
    record.set_leaf_index(tree_.size());
    record.mutable_ingest_time()->set_seconds(1'750'000'000 + tree_.size());
    tree_.Append(LeafHash(*LeafData(record)));
    records_.push_back(std::move(record));
    if (tree_.size() % 4 == 0) checkpoints_[tree_.size()] = Sign();
  }
  v1::Checkpoint Sign() const {
    v1::Checkpoint checkpoint;
    checkpoint.set_origin("test");
    checkpoint.set_tree_size(tree_.size());
    checkpoint.set_root_hash(std::string(View(tree_.Root())));
    EXPECT_TRUE(SignCheckpoint(key_, checkpoint).ok());
    return checkpoint;
  }
  Items Export(int64_t from = 0) const {
    Items items(1);
    auto* header = items[0].mutable_header();
    *header->mutable_checkpoint() = Sign();
    *header->add_keys() = public_key_;
    header->set_from_leaf(from);
    Frontier earlier;
    for (int64_t i = 0; i < from; ++i) earlier.Append(LeafHash(*LeafData(records_[i])));
    for (const Digest& hash : earlier.hashes()) header->add_earlier(std::string(View(hash)));
    for (int64_t i = from; i < tree_.size(); ++i) {
      *items.emplace_back().mutable_record() = records_[i];
      if (auto it = checkpoints_.find(i + 1); it != checkpoints_.end()) {
        *items.emplace_back().mutable_checkpoint() = it->second;
      }
    }
    return items;
  }
  const v1::AuditKey& public_key() const { return public_key_; }

 private:
  crypto::EcPrivateKey key_;
  v1::AuditKey public_key_;
  std::map<std::string, Chain> chains_;
  Frontier tree_;
  std::vector<v1::LoggedRecord> records_;
  std::map<int64_t, v1::Checkpoint> checkpoints_;
};

class Verify : public ::testing::Test {
 protected:
  Verify() {
    for (int i = 0; i < 11; ++i) log_.Add(i % 2 == 0 ? "sdc_a" : "sdc_b", "record " + std::to_string(i));
    items_ = log_.Export();
  }
  VerifyReport Run(VerifyOptions options = {}) {
    ExportVerifier verifier(std::move(options));
    for (const auto& item : items_) verifier.Add(item);
    return verifier.Finish();
  }
  // The item that holds leaf `leaf` of the untouched export.
  size_t At(int64_t leaf) const {
    for (size_t i = 0; i < items_.size(); ++i) {
      if (items_[i].has_record() && items_[i].record().leaf_index() == leaf) return i;
    }
    ADD_FAILURE() << "no leaf " << leaf;
    return 0;
  }
  v1::LoggedRecord& Leaf(int64_t leaf) { return *items_[At(leaf)].mutable_record(); }
  void DropCheckpoints() {
    std::erase_if(items_, [](const auto& item) { return item.has_checkpoint(); });
  }
  Log log_;
  Items items_;
};

TEST_F(Verify, AnUntouchedLogIsWhole) {
  const VerifyReport report = Run({.trusted_keys = {log_.public_key()}, .witnessed = {}});
  EXPECT_TRUE(report.ok()) << report.finding->text;
  EXPECT_EQ(report.records, 11);
  EXPECT_EQ(report.chains, 2);
  EXPECT_EQ(report.checkpoint.tree_size(), 11);
  EXPECT_FALSE(report.keys_from_export);
}

TEST_F(Verify, WithoutTrustedKeysItSaysSo) { EXPECT_TRUE(Run().keys_from_export); }

TEST_F(Verify, AnEmptyLogIsWhole) {
  items_ = Log().Export();
  EXPECT_TRUE(Run().ok());
}

TEST_F(Verify, APartialExportIsCheckedFromItsStart) {
  for (int64_t from = 0; from <= 11; ++from) {
    items_ = log_.Export(from);
    std::erase_if(items_,
                  [&](const auto& item) { return item.has_checkpoint() && item.checkpoint().tree_size() <= from; });
    const VerifyReport report = Run();
    EXPECT_TRUE(report.ok()) << from << ": " << report.finding->text;
    EXPECT_EQ(report.records, 11 - from);
  }
}

TEST_F(Verify, BodiesRemovedByRetentionAreCountedAndTheRestHolds) {
  for (int64_t leaf : {2, 3}) {
    v1::LoggedRecord& record = Leaf(leaf);
    record.set_record_hash(std::string(View(Sha256({record.chained().record()}))));
    record.mutable_chained()->clear_record();
  }
  const VerifyReport report = Run();
  EXPECT_TRUE(report.ok()) << report.finding->text;
  EXPECT_EQ(report.without_body, 2);
}

TEST_F(Verify, AFlippedBitIsNamed) {
  (*Leaf(4).mutable_chained()->mutable_record())[0] ^= 1;
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kAltered);
  EXPECT_EQ(report.finding->leaf, 4);
  EXPECT_EQ(report.finding->writer, "sdc_a");
  EXPECT_EQ(report.finding->sequence, 3);
  EXPECT_THAT(report.finding->text, HasSubstr("record 3 of writer sdc_a (epoch e1) at leaf 4 is altered"));
}

TEST_F(Verify, AFlippedBitAnywhereInAnyRecordIsFound) {
  const Items untouched = items_;
  for (int64_t leaf = 0; leaf < 11; ++leaf) {
    const std::vector<std::function<void(v1::LoggedRecord&)>> changes = {
        [](auto& r) { (*r.mutable_chained()->mutable_record())[3] ^= 0x40; },
        [](auto& r) { (*r.mutable_chained()->mutable_chain_hash())[31] ^= 1; },
        [](auto& r) { r.mutable_chained()->set_chain_hash("short"); },
        [](auto& r) { r.mutable_chained()->set_writer("sdc_c"); },
        [](auto& r) { r.mutable_chained()->set_epoch("e2"); },
        [](auto& r) { r.mutable_chained()->set_sequence(r.chained().sequence() + 1); },
        [](auto& r) { r.mutable_ingest_time()->set_seconds(5); },
        [](auto& r) { r.mutable_ingest_time()->set_nanos(1); },
        [](auto& r) { r.set_record_hash(std::string(32, 'h')); },
        [](auto& r) { r.mutable_chained()->clear_record(); },
        [](auto& r) { r.set_leaf_index(r.leaf_index() + 1); },
    };
    for (size_t change = 0; change < changes.size(); ++change) {
      items_ = untouched;
      changes[change](Leaf(leaf));
      const VerifyReport report = Run();
      ASSERT_FALSE(report.ok()) << "leaf " << leaf << " change " << change;
      // Never later than the checkpoint after it, never before the one before it.
      EXPECT_GE(report.finding->leaf, leaf / 4 * 4) << report.finding->text;
      EXPECT_LE(report.finding->leaf, leaf + 2) << report.finding->text;
    }
  }
}

TEST_F(Verify, ARemovedRecordIsNamed) {
  items_.erase(items_.begin() + static_cast<long>(At(5)));
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kMissing);
  EXPECT_EQ(report.finding->leaf, 5);
  EXPECT_THAT(report.finding->text, HasSubstr("leaf 5 is missing"));
}

TEST_F(Verify, ARemovedRecordIsNamedEvenIfTheLeavesAreRenumbered) {
  items_.erase(items_.begin() + static_cast<long>(At(5)));
  for (auto& item : items_) {
    if (item.has_record() && item.record().leaf_index() > 5) {
      item.mutable_record()->set_leaf_index(item.record().leaf_index() - 1);
    }
  }
  DropCheckpoints();
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kMissing);
  EXPECT_EQ(report.finding->writer, "sdc_b");
  EXPECT_EQ(report.finding->sequence, 3);
  EXPECT_THAT(report.finding->text, HasSubstr("record 3 of writer sdc_b (epoch e1) is missing"));
}

TEST_F(Verify, AChainWithoutItsFirstRecordIsMissingIt) {
  items_.erase(items_.begin() + static_cast<long>(At(0)));
  for (auto& item : items_) {
    if (item.has_record()) item.mutable_record()->set_leaf_index(item.record().leaf_index() - 1);
  }
  DropCheckpoints();
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kMissing);
  EXPECT_EQ(report.finding->sequence, 1);
}

TEST_F(Verify, ACutTailIsNamed) {
  items_.resize(At(9));
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kCut);
  EXPECT_EQ(report.finding->leaf, 9);
  EXPECT_THAT(report.finding->text, HasSubstr("covers 11 records, leaf 9 and those after it are not there"));
}

TEST_F(Verify, ASwappedPairIsNamedAsMoved) {
  std::swap(items_[At(5)], items_[At(6)]);
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kMoved);
  EXPECT_EQ(report.finding->leaf, 5);
  EXPECT_EQ(report.finding->writer, "sdc_b");
  EXPECT_EQ(report.finding->sequence, 3);
}

TEST_F(Verify, ASwapWithinOneWriterIsNamedEvenIfRenumbered) {
  Leaf(4).mutable_chained()->Swap(Leaf(6).mutable_chained());
  DropCheckpoints();
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kMoved);
  EXPECT_EQ(report.finding->writer, "sdc_a");
  EXPECT_EQ(report.finding->sequence, 3);
}

TEST_F(Verify, ASwapBetweenWritersThatIsRenumberedShowsInTheTree) {
  Leaf(5).mutable_chained()->Swap(Leaf(6).mutable_chained());
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kAltered);
  EXPECT_EQ(report.finding->leaf, 4);
  EXPECT_THAT(report.finding->text, HasSubstr("one of the leaves 4 to 7 is altered or moved"));
}

TEST_F(Verify, AHistoryRewrittenWithFittingChainsIsNarrowedDownByTheCheckpoints) {
  Log rewritten;
  for (int i = 0; i < 11; ++i) {
    rewritten.Add(i % 2 == 0 ? "sdc_a" : "sdc_b", i == 5 ? "another story" : "record " + std::to_string(i));
  }
  const Items other = rewritten.Export();
  for (size_t i = 1; i < items_.size(); ++i) {
    if (items_[i].has_record()) items_[i] = other[i];
  }
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kAltered);
  EXPECT_EQ(report.finding->leaf, 4);
  EXPECT_THAT(report.finding->text, HasSubstr("one of the leaves 4 to 7"));
}

TEST_F(Verify, AnAddedRecordIsNamed) {
  log_.Add("sdc_a", "one more");
  Items longer = log_.Export();
  longer[0] = items_[0];
  items_ = longer;
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kMoved);
  EXPECT_THAT(report.finding->text, HasSubstr("stands after the end of the log"));
}

TEST_F(Verify, AForgedCheckpointIsNamed) {
  items_[0].mutable_header()->mutable_checkpoint()->set_tree_size(10);
  items_.resize(At(10));
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kForged);
  EXPECT_THAT(report.finding->text, HasSubstr("does not bear the signature of key"));
}

TEST_F(Verify, ALogSignedBySomebodyElseIsForgedForWhoHasTheKey) {
  Log theirs;
  theirs.Add("sdc_a", "a story");
  items_ = theirs.Export();
  EXPECT_TRUE(Run().ok());
  const VerifyReport report = Run({.trusted_keys = {log_.public_key()}, .witnessed = {}});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kForged);
}

TEST_F(Verify, AForgedOlderCheckpointIsNamed) {
  for (auto& item : items_) {
    if (item.has_checkpoint()) item.mutable_checkpoint()->mutable_signature()->back() ^= 1;
  }
  const VerifyReport report = Run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kForged);
  EXPECT_EQ(report.finding->leaf, 4);
}

TEST_F(Verify, ARolledBackLogIsFoundByAKeptCheckpoint) {
  const v1::Checkpoint kept = log_.Sign();
  EXPECT_TRUE(Run({.trusted_keys = {}, .witnessed = kept}).ok());
  log_.Add("sdc_a", "later");
  items_ = log_.Export();
  EXPECT_TRUE(Run({.trusted_keys = {}, .witnessed = kept}).ok());
  const v1::Checkpoint later = log_.Sign();
  // The store is put back to a copy from before: genuine, but older.
  Verify::items_ = [this] {
    Items items = log_.Export();
    return items;
  }();
  items_.resize(At(11));
  *items_[0].mutable_header()->mutable_checkpoint() = kept;
  const VerifyReport report = Run({.trusted_keys = {}, .witnessed = later});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kRolledBack);
  EXPECT_THAT(report.finding->text, HasSubstr("it has 11 records, a checkpoint kept from earlier has 12"));
}

TEST_F(Verify, ALogThatIsNotAContinuationOfTheKeptCheckpointIsFound) {
  // The same key signs a second history: a store rolled back and written anew.
  const v1::Checkpoint kept = log_.Sign();
  Log fork = log_;
  log_.Add("sdc_a", "first history");
  fork.Add("sdc_a", "second history");
  fork.Add("sdc_b", "goes on");
  const v1::Checkpoint first = log_.Sign();
  items_ = fork.Export();
  EXPECT_TRUE(Run({.trusted_keys = {}, .witnessed = kept}).ok());
  const VerifyReport report = Run({.trusted_keys = {}, .witnessed = first});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.finding->damage, Damage::kRolledBack);
}

TEST_F(Verify, RecordMissingRightBeforeACheckpointIsMissing) {
  log_.Sign();
  log_.Add("sdc_a", "after the checkpoint");
  log_.Sign();
  items_ = log_.Export();
  for (size_t i = 1; i + 1 < items_.size(); ++i) {
    if (!items_[i].has_record() || !items_[i + 1].has_checkpoint()) continue;
    const int64_t leaf = items_[i].record().leaf_index();
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(i));
    const VerifyReport report = Run();
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.finding->damage, Damage::kMissing);
    EXPECT_EQ(report.finding->leaf, leaf);
    return;
  }
  FAIL() << "the export has no checkpoint after a record";
}

TEST_F(Verify, WhatIsNotAnExportIsMalformed) {
  items_.erase(items_.begin());
  EXPECT_EQ(Run().finding->damage, Damage::kMalformed);
  items_.clear();
  EXPECT_EQ(Run().finding->damage, Damage::kMalformed);
  items_ = log_.Export();
  items_.push_back(items_[0]);
  EXPECT_EQ(Run().finding->damage, Damage::kMalformed);
  items_ = log_.Export();
  items_[0].mutable_header()->add_earlier("x");
  EXPECT_EQ(Run().finding->damage, Damage::kMalformed);
}

}  // namespace
}  // namespace postern::audit
