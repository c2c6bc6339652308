// What the Merkle tree of the audit log is over, and how its head is signed. docs/formats/audit-log.md.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/audit/digest.h"
#include "common/crypto/ec_key.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// The bytes that a leaf hashes. They hold the hash of the record rather than the record, so that a leaf can still be
// checked when retention has removed the body:
//   "postern-leaf-v1\n" || be16(len) writer || be16(len) epoch || be64(sequence) || SHA-256(record) || chain_hash ||
//   be64(ingest time, microseconds since 1970)
// `record.record_hash` stands in for an empty body.
//   INVALID_ARGUMENT/RECORD_MALFORMED: a hash that is not 32 bytes, a name longer than 65535 bytes.
absl::StatusOr<std::string> LeafData(const v1::LoggedRecord& record);

// SHA-256 of the record's bytes, or what `record_hash` says if the body is gone. INVALID_ARGUMENT/RECORD_MALFORMED.
absl::StatusOr<Digest> RecordHash(const v1::LoggedRecord& record);

// The text that a checkpoint's signature covers, one value a line:
//   postern-checkpoint-v1, origin, tree size, root hash in base64, time in microseconds since 1970, key id
std::string CheckpointText(const v1::Checkpoint& checkpoint);

// Fills in `key_id` (the key's RFC 7638 thumbprint) and `signature`.
//   INVALID_ARGUMENT/CHECKPOINT_MALFORMED: the origin has a line break, the root is not 32 bytes.
absl::Status SignCheckpoint(const crypto::EcPrivateKey& key, v1::Checkpoint& checkpoint);

// The public keys that checkpoints may be signed with, by id. Immutable.
class CheckpointKeys {
 public:
  // INVALID_ARGUMENT/KEY_MALFORMED for a key that does not parse, or whose id is not its thumbprint.
  static absl::StatusOr<CheckpointKeys> Make(const std::vector<v1::AuditKey>& keys);

  //   UNAUTHENTICATED/CHECKPOINT_KEY_UNKNOWN: signed by no key of these.
  //   UNAUTHENTICATED/CHECKPOINT_FORGED: the signature does not match.
  //   INVALID_ARGUMENT/CHECKPOINT_MALFORMED.
  absl::Status Verify(const v1::Checkpoint& checkpoint) const;

 private:
  std::map<std::string, crypto::EcPublicKey> keys_;
};

}  // namespace postern::audit
