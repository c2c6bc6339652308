// The Merkle tree of the audit log, as RFC 6962 section 2.1 defines it (SHA-256).
//
// Functions over all leaf hashes serve proofs and tests; Frontier is what a log that grows keeps: O(log n) hashes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/audit/digest.h"

namespace postern::audit {

// SHA-256(0x00 || data) and SHA-256(0x01 || left || right).
Digest LeafHash(std::string_view leaf_data);
Digest NodeHash(const Digest& left, const Digest& right);

// The right edge of a tree: the roots of the perfect subtrees that its leaves split into, one per bit that is set in
// its size. Enough to append leaves and to know the root at any time.
class Frontier {
 public:
  Frontier() = default;
  // From what Serialize() gave for `size`. DATA_LOSS/FRONTIER_MALFORMED if the length does not fit.
  static absl::StatusOr<Frontier> Parse(int64_t size, std::string_view bytes);

  void Append(const Digest& leaf_hash);
  int64_t size() const { return size_; }
  // SHA-256 of nothing when empty.
  Digest Root() const;

  // The hashes, the largest subtree first, joined.
  std::string Serialize() const;
  const std::vector<Digest>& hashes() const { return hashes_; }

 private:
  int64_t size_ = 0;
  std::vector<Digest> hashes_;
};

// Root over `leaves`.
Digest RootOf(std::span<const Digest> leaves);

// RFC 6962 section 2.1.1: that leaf `index` is in the tree over `leaves`. 0 <= index < leaves.size().
std::vector<Digest> InclusionProof(std::span<const Digest> leaves, int64_t index);
// DATA_LOSS/PROOF_INVALID.
absl::Status VerifyInclusion(const Digest& leaf_hash, int64_t index, int64_t tree_size, std::span<const Digest> proof,
                             const Digest& root);

// RFC 6962 section 2.1.2: that the tree over the first `old_size` leaves is a prefix of the tree over `leaves`.
// 0 < old_size <= leaves.size().
std::vector<Digest> ConsistencyProof(std::span<const Digest> leaves, int64_t old_size);
// DATA_LOSS/PROOF_INVALID.
absl::Status VerifyConsistency(int64_t old_size, const Digest& old_root, int64_t new_size, const Digest& new_root,
                               std::span<const Digest> proof);

}  // namespace postern::audit
