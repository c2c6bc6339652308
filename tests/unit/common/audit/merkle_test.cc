#include "common/audit/merkle.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/base/errors.h"
#include "gtest/gtest.h"

namespace postern::audit {
namespace {

std::string Hex(const Digest& digest) { return absl::BytesToHexString(std::string(View(digest))); }

// The leaves that the Certificate Transparency implementations test with.
std::vector<Digest> CtLeaves() {
  const std::vector<std::string> hex = {
      "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
  std::vector<Digest> leaves;
  for (const std::string& data : hex) leaves.push_back(LeafHash(absl::HexStringToBytes(data)));
  return leaves;
}

std::vector<Digest> ManyLeaves(int n) {
  std::vector<Digest> leaves;
  for (int i = 0; i < n; ++i) leaves.push_back(LeafHash(std::to_string(i)));
  return leaves;
}

TEST(Merkle, RootsMatchTheCertificateTransparencyVectors) {
  const std::vector<std::string> roots = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                          "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                          "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                          "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                          "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                          "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                          "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                          "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  const std::vector<Digest> leaves = CtLeaves();
  Frontier frontier;
  EXPECT_EQ(Hex(frontier.Root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (size_t i = 0; i < leaves.size(); ++i) {
    frontier.Append(leaves[i]);
    EXPECT_EQ(Hex(frontier.Root()), roots[i]) << i;
    EXPECT_EQ(RootOf(std::span(leaves).first(i + 1)), frontier.Root());
  }
}

TEST(Merkle, FrontierSurvivesSerialization) {
  const auto leaves = ManyLeaves(70);
  Frontier frontier;
  for (const Digest& leaf : leaves) {
    frontier.Append(leaf);
    auto parsed = Frontier::Parse(frontier.size(), frontier.Serialize());
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->Root(), frontier.Root());
    parsed->Append(leaf);
    Frontier next = frontier;
    next.Append(leaf);
    EXPECT_EQ(parsed->Root(), next.Root());
  }
  EXPECT_EQ(ReasonOf(Frontier::Parse(69, frontier.Serialize() + "x").status()), "FRONTIER_MALFORMED");
  EXPECT_EQ(ReasonOf(Frontier::Parse(-1, "").status()), "FRONTIER_MALFORMED");
}

TEST(Merkle, EveryLeafHasAnInclusionProofThatFitsItOnly) {
  for (int size = 1; size <= 33; ++size) {
    const auto leaves = ManyLeaves(size);
    const Digest root = RootOf(leaves);
    for (int index = 0; index < size; ++index) {
      auto proof = InclusionProof(leaves, index);
      EXPECT_TRUE(VerifyInclusion(leaves[index], index, size, proof, root).ok()) << size << " " << index;
      EXPECT_FALSE(VerifyInclusion(LeafHash("other"), index, size, proof, root).ok());
      EXPECT_FALSE(VerifyInclusion(leaves[index], index + 1, size, proof, root).ok());
      EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, LeafHash("root")).ok());
      proof.push_back(root);
      EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, root).ok());
      proof.pop_back();
      if (!proof.empty()) {
        proof.pop_back();
        EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, root).ok());
      }
    }
  }
}

TEST(Merkle, EveryPrefixHasAConsistencyProof) {
  for (int size = 1; size <= 33; ++size) {
    const auto leaves = ManyLeaves(size);
    const Digest root = RootOf(leaves);
    for (int old_size = 1; old_size <= size; ++old_size) {
      const Digest old_root = RootOf(std::span(leaves).first(old_size));
      const auto proof = ConsistencyProof(leaves, old_size);
      EXPECT_TRUE(VerifyConsistency(old_size, old_root, size, root, proof).ok()) << old_size << " of " << size;
      EXPECT_FALSE(VerifyConsistency(old_size, LeafHash("x"), size, root, proof).ok());
      EXPECT_FALSE(VerifyConsistency(old_size, old_root, size, LeafHash("x"), proof).ok());
      auto longer = proof;
      longer.push_back(root);
      EXPECT_FALSE(VerifyConsistency(old_size, old_root, size, root, longer).ok());
      if (!proof.empty()) {
        auto shorter = proof;
        shorter.pop_back();
        EXPECT_FALSE(VerifyConsistency(old_size, old_root, size, root, shorter).ok());
      }
    }
  }
  const auto leaves = ManyLeaves(3);
  EXPECT_FALSE(VerifyConsistency(0, RootOf({}), 3, RootOf(leaves), {}).ok());
  EXPECT_FALSE(VerifyConsistency(4, RootOf(leaves), 3, RootOf(leaves), {}).ok());
}

}  // namespace
}  // namespace postern::audit
