#include "sidecar/uplink/witness.h"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/uplink/identity_file.h"
#include "tests/unit/sidecar/uplink/temp_dir.h"

namespace postern::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::Checkpoint Tree(int64_t size, const std::string& root) {
  v1::Checkpoint checkpoint;
  checkpoint.set_tree_size(size);
  checkpoint.set_root_hash(root);
  return checkpoint;
}

class WitnessTest : public ::testing::Test {
 protected:
  WitnessTest() { Restart(); }
  void Restart() {
    witness_ = std::make_unique<Witness>(
        dir_.path(), [this](std::string_view reason, std::string_view) { alarms_.emplace_back(reason); });
  }

  TempDir dir_;
  std::vector<std::string> alarms_;
  std::unique_ptr<Witness> witness_;
};

TEST_F(WitnessTest, GrowthIsFine) {
  witness_->See(Tree(1, "a"));
  witness_->See(Tree(1, "a"));
  witness_->See(Tree(5, "b"));
  EXPECT_THAT(alarms_, IsEmpty());
  EXPECT_EQ(witness_->last().tree_size(), 5);
}

TEST_F(WitnessTest, EmptyLogIsAFirstSightLikeAnyOther) {
  witness_->See(Tree(0, "root of nothing"));
  witness_->See(Tree(1, "a"));
  EXPECT_THAT(alarms_, IsEmpty());
}

TEST_F(WitnessTest, SmallerTreeIsARollbackAlsoAfterARestart) {
  witness_->See(Tree(5, "b"));
  Restart();
  EXPECT_EQ(witness_->last().tree_size(), 5);
  witness_->See(Tree(4, "x"));
  EXPECT_THAT(alarms_, ElementsAre("CHECKPOINT_ROLLED_BACK"));
  EXPECT_EQ(witness_->last().tree_size(), 5);
}

TEST_F(WitnessTest, OtherRootOfTheSameSizeIsAFork) {
  witness_->See(Tree(5, "b"));
  witness_->See(Tree(5, "c"));
  EXPECT_THAT(alarms_, ElementsAre("CHECKPOINT_FORKED"));
}

TEST_F(WitnessTest, TheSameOffenceIsAlarmedOnce) {
  witness_->See(Tree(5, "b"));
  witness_->See(Tree(4, "x"));
  witness_->See(Tree(4, "x"));
  witness_->See(Tree(3, "y"));
  EXPECT_THAT(alarms_, ElementsAre("CHECKPOINT_ROLLED_BACK", "CHECKPOINT_ROLLED_BACK"));
}

TEST_F(WitnessTest, DamagedMemoryIsAlarmedAndStartsAnew) {
  ASSERT_TRUE(ReplaceFile(dir_.path(), kCheckpointFile, "\xff\xff\xff").ok());
  Restart();
  EXPECT_THAT(alarms_, ElementsAre("CHECKPOINT_DAMAGED"));
  EXPECT_EQ(witness_->last().tree_size(), 0);
}

}  // namespace
}  // namespace postern::sidecar
