#include "common/audit/merkle.h"

#include <bit>

#include "common/base/errors.h"

namespace postern::audit {
namespace {

using Leaves = std::span<const Digest>;

// The largest power of two below `n`; n > 1.
size_t Split(size_t n) { return std::bit_floor(n - 1); }

void AppendInclusion(Leaves leaves, size_t index, std::vector<Digest>& proof) {
  if (leaves.size() <= 1) return;
  const size_t k = Split(leaves.size());
  if (index < k) {
    AppendInclusion(leaves.first(k), index, proof);
    proof.push_back(RootOf(leaves.subspan(k)));
  } else {
    AppendInclusion(leaves.subspan(k), index - k, proof);
    proof.push_back(RootOf(leaves.first(k)));
  }
}

// SUBPROOF of RFC 6962: `whole` is true while the old tree is a subtree whose root the verifier knows already.
void AppendConsistency(Leaves leaves, size_t old_size, bool whole, std::vector<Digest>& proof) {
  if (old_size == leaves.size()) {
    if (!whole) proof.push_back(RootOf(leaves));
    return;
  }
  const size_t k = Split(leaves.size());
  if (old_size <= k) {
    AppendConsistency(leaves.first(k), old_size, whole, proof);
    proof.push_back(RootOf(leaves.subspan(k)));
  } else {
    AppendConsistency(leaves.subspan(k), old_size - k, false, proof);
    proof.push_back(RootOf(leaves.first(k)));
  }
}

absl::Status Invalid(std::string_view message) { return Error(absl::StatusCode::kDataLoss, "PROOF_INVALID", message); }

}  // namespace

Digest LeafHash(std::string_view leaf_data) { return Sha256({std::string_view("\x00", 1), leaf_data}); }
Digest NodeHash(const Digest& left, const Digest& right) {
  return Sha256({std::string_view("\x01", 1), View(left), View(right)});
}

absl::StatusOr<Frontier> Frontier::Parse(int64_t size, std::string_view bytes) {
  if (size < 0 || bytes.size() != kDigestBytes * static_cast<size_t>(std::popcount(static_cast<uint64_t>(size)))) {
    return Error(absl::StatusCode::kDataLoss, "FRONTIER_MALFORMED",
                 "the number of subtree hashes does not fit the size of the tree");
  }
  Frontier frontier;
  frontier.size_ = size;
  for (size_t at = 0; at < bytes.size(); at += kDigestBytes) {
    frontier.hashes_.push_back(*ToDigest(bytes.substr(at, kDigestBytes)));
  }
  return frontier;
}

void Frontier::Append(const Digest& leaf_hash) {
  hashes_.push_back(leaf_hash);
  // Each trailing one of the old size is a perfect subtree that the new leaf completes into one twice as large.
  for (int64_t bits = size_; (bits & 1) != 0; bits >>= 1) {
    const Digest right = hashes_.back();
    hashes_.pop_back();
    hashes_.back() = NodeHash(hashes_.back(), right);
  }
  ++size_;
}

Digest Frontier::Root() const {
  if (hashes_.empty()) return Sha256({});
  Digest root = hashes_.back();
  for (size_t i = hashes_.size() - 1; i-- > 0;) root = NodeHash(hashes_[i], root);
  return root;
}

std::string Frontier::Serialize() const {
  std::string bytes;
  bytes.reserve(hashes_.size() * kDigestBytes);
  for (const Digest& hash : hashes_) bytes += View(hash);
  return bytes;
}

Digest RootOf(Leaves leaves) {
  Frontier frontier;
  for (const Digest& leaf : leaves) frontier.Append(leaf);
  return frontier.Root();
}

std::vector<Digest> InclusionProof(Leaves leaves, int64_t index) {
  std::vector<Digest> proof;
  AppendInclusion(leaves, static_cast<size_t>(index), proof);
  return proof;
}

// The algorithm of RFC 9162 section 2.1.3.2, which proves the same trees.
absl::Status VerifyInclusion(const Digest& leaf_hash, int64_t index, int64_t tree_size, std::span<const Digest> proof,
                             const Digest& root) {
  if (index < 0 || index >= tree_size) return Invalid("the leaf's index lies outside the tree");
  auto fn = static_cast<uint64_t>(index);
  auto sn = static_cast<uint64_t>(tree_size - 1);
  Digest hash = leaf_hash;
  for (const Digest& step : proof) {
    if (sn == 0) return Invalid("the inclusion proof is too long");
    if ((fn & 1) != 0 || fn == sn) {
      hash = NodeHash(step, hash);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      hash = NodeHash(hash, step);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn != 0) return Invalid("the inclusion proof is too short");
  return hash == root ? absl::OkStatus() : Invalid("the leaf is not in the tree with this root");
}

std::vector<Digest> ConsistencyProof(Leaves leaves, int64_t old_size) {
  std::vector<Digest> proof;
  AppendConsistency(leaves, static_cast<size_t>(old_size), true, proof);
  return proof;
}

// RFC 9162 section 2.1.4.2.
absl::Status VerifyConsistency(int64_t old_size, const Digest& old_root, int64_t new_size, const Digest& new_root,
                               std::span<const Digest> proof) {
  if (old_size < 1 || old_size > new_size) return Invalid("the older tree is not smaller than the newer one");
  if (old_size == new_size) {
    return proof.empty() && old_root == new_root ? absl::OkStatus()
                                                 : Invalid("two trees of one size have different roots");
  }
  size_t next = 0;
  auto fn = static_cast<uint64_t>(old_size - 1);
  auto sn = static_cast<uint64_t>(new_size - 1);
  while ((fn & 1) != 0) {
    fn >>= 1;
    sn >>= 1;
  }
  // A power of two: the old root itself is the first subtree.
  const bool perfect = std::has_single_bit(static_cast<uint64_t>(old_size));
  if (!perfect && proof.empty()) return Invalid("the consistency proof is empty");
  Digest old_hash = perfect ? old_root : proof[next++];
  Digest new_hash = old_hash;
  for (; next < proof.size(); ++next) {
    if (sn == 0) return Invalid("the consistency proof is too long");
    if ((fn & 1) != 0 || fn == sn) {
      old_hash = NodeHash(proof[next], old_hash);
      new_hash = NodeHash(proof[next], new_hash);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      new_hash = NodeHash(new_hash, proof[next]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn != 0) return Invalid("the consistency proof is too short");
  if (old_hash != old_root) return Invalid("the proof does not lead to the older root");
  return new_hash == new_root ? absl::OkStatus() : Invalid("the proof does not lead to the newer root");
}

}  // namespace postern::audit
