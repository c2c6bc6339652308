// The hash chain of one audit writer: each record's hash covers the one before it, so that a missing, altered or moved
// record shows. docs/formats/spool.md.
//
//   chain_hash(n) = SHA-256("postern-chain-v1\n" || chain_hash(n-1) || SHA-256(record) || epoch || 0x00 || be64(n))
//   chain_hash(0) = 32 zero bytes
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/audit/digest.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// Deterministic serialization of a record: the bytes that chains and leaves hash.
std::string SerializeRecord(const v1::AuditRecord& record);

// The formula above. `epoch` has no NUL byte.
Digest ChainHash(std::string_view previous, const Digest& record_hash, std::string_view epoch, int64_t sequence);

// Not thread-safe; the owner serialises appends.
class Chain {
 public:
  // A new chain.
  Chain(std::string writer, std::string epoch);
  // Goes on after `sequence` whose hash is `chain_hash` (32 bytes).
  Chain(std::string writer, std::string epoch, int64_t sequence, std::string chain_hash);

  // The next link over `record_bytes`.
  v1::ChainedRecord Append(std::string record_bytes);

  // The same for a caller that keeps the bytes itself and has hashed them: moves on by one and returns the new hash().
  const std::string& Advance(const Digest& record_hash);

  // Checks that `next` follows this chain and moves on to it.
  //   DATA_LOSS with reason CHAIN_GAP, CHAIN_MISMATCH, CHAIN_WRONG_EPOCH: nothing changes.
  absl::Status Follow(const v1::ChainedRecord& next);
  // The same for a record whose body is no longer there, by the body's hash.
  absl::Status Follow(const v1::ChainedRecord& next, const Digest& record_hash);

  int64_t sequence() const { return sequence_; }
  const std::string& hash() const { return hash_; }
  const std::string& writer() const { return writer_; }
  const std::string& epoch() const { return epoch_; }

 private:
  std::string writer_;
  std::string epoch_;
  int64_t sequence_ = 0;
  std::string hash_;
};

}  // namespace postern::audit
