#include "common/audit/checkpoint.h"

#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "common/audit/merkle.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "google/protobuf/util/time_util.h"

namespace postern::audit {
namespace {

using google::protobuf::util::TimeUtil;

absl::Status Malformed(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// Timestamps that microseconds since 1970 hold without loss: what is signed then says all that the message says.
bool IsExact(const google::protobuf::Timestamp& time) {
  return time.seconds() >= TimeUtil::kTimestampMinSeconds && time.seconds() <= TimeUtil::kTimestampMaxSeconds &&
         time.nanos() >= 0 && time.nanos() < 1'000'000'000 && time.nanos() % 1000 == 0;
}

absl::Status CheckShape(const v1::Checkpoint& checkpoint) {
  if (checkpoint.origin().empty() || checkpoint.origin().find('\n') != std::string::npos ||
      checkpoint.key_id().find('\n') != std::string::npos) {
    return Malformed("CHECKPOINT_MALFORMED", "a checkpoint's origin and key id are single lines");
  }
  if (checkpoint.root_hash().size() != kDigestBytes || checkpoint.tree_size() < 0) {
    return Malformed("CHECKPOINT_MALFORMED", "a checkpoint has a size and a root hash of 32 bytes");
  }
  if (!IsExact(checkpoint.time())) {
    return Malformed("CHECKPOINT_MALFORMED",
                     "a checkpoint's time is in whole microseconds, between the years 1 and 9999");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Digest> RecordHash(const v1::LoggedRecord& record) {
  const v1::ChainedRecord& chained = record.chained();
  if (record.record_hash().empty()) return Sha256({chained.record()});
  const auto stated = ToDigest(record.record_hash());
  if (!stated) return Malformed("RECORD_MALFORMED", "a record's hash has 32 bytes");
  if (!chained.record().empty() && Sha256({chained.record()}) != *stated) {
    return Malformed("RECORD_MALFORMED", "a record's stated hash is not the hash of its bytes");
  }
  return *stated;
}

absl::StatusOr<std::string> LeafData(const v1::LoggedRecord& record) {
  const v1::ChainedRecord& chained = record.chained();
  constexpr size_t kLongest = std::numeric_limits<uint16_t>::max();
  if (chained.writer().size() > kLongest || chained.epoch().size() > kLongest) {
    return Malformed("RECORD_MALFORMED", "a writer's or epoch's name is longer than 65535 bytes");
  }
  if (chained.chain_hash().size() != kDigestBytes) return Malformed("RECORD_MALFORMED", "a chain hash has 32 bytes");
  if (!IsExact(record.ingest_time())) {
    return Malformed("RECORD_MALFORMED", "an ingest time is in whole microseconds, between the years 1 and 9999");
  }
  POSTERN_ASSIGN_OR_RETURN(const Digest record_hash, RecordHash(record));
  std::string data = "postern-leaf-v1\n";
  AppendBe16(data, static_cast<uint16_t>(chained.writer().size()));
  data += chained.writer();
  AppendBe16(data, static_cast<uint16_t>(chained.epoch().size()));
  data += chained.epoch();
  AppendBe64(data, static_cast<uint64_t>(chained.sequence()));
  data += View(record_hash);
  data += chained.chain_hash();
  AppendBe64(data, static_cast<uint64_t>(TimeUtil::TimestampToMicroseconds(record.ingest_time())));
  return data;
}

std::string CheckpointText(const v1::Checkpoint& checkpoint) {
  return fmt::format("postern-checkpoint-v1\n{}\n{}\n{}\n{}\n{}\n", checkpoint.origin(), checkpoint.tree_size(),
                     absl::Base64Escape(checkpoint.root_hash()), TimeUtil::TimestampToMicroseconds(checkpoint.time()),
                     checkpoint.key_id());
}

absl::Status SignCheckpoint(const crypto::EcPrivateKey& key, v1::Checkpoint& checkpoint) {
  checkpoint.set_key_id(key.public_key().Thumbprint());
  POSTERN_RETURN_IF_ERROR(CheckShape(checkpoint));
  POSTERN_ASSIGN_OR_RETURN(std::string signature, key.Sign(CheckpointText(checkpoint)));
  checkpoint.set_signature(std::move(signature));
  return absl::OkStatus();
}

absl::StatusOr<CheckpointKeys> CheckpointKeys::Make(const std::vector<v1::AuditKey>& keys) {
  CheckpointKeys made;
  for (const v1::AuditKey& key : keys) {
    POSTERN_ASSIGN_OR_RETURN(crypto::EcPublicKey parsed, crypto::EcPublicKey::FromPem(key.public_key_pem()));
    if (parsed.Thumbprint() != key.key_id()) {
      return Malformed("KEY_MALFORMED", fmt::format("audit key {} is not the key with that thumbprint", key.key_id()));
    }
    made.keys_.emplace(key.key_id(), std::move(parsed));
  }
  return made;
}

absl::Status CheckpointKeys::Verify(const v1::Checkpoint& checkpoint) const {
  POSTERN_RETURN_IF_ERROR(CheckShape(checkpoint));
  const auto key = keys_.find(checkpoint.key_id());
  if (key == keys_.end()) {
    return Error(absl::StatusCode::kUnauthenticated, "CHECKPOINT_KEY_UNKNOWN",
                 fmt::format("the checkpoint over {} records is signed by an unknown key, {}", checkpoint.tree_size(),
                             checkpoint.key_id()));
  }
  if (!key->second.Verify(CheckpointText(checkpoint), checkpoint.signature()).ok()) {
    return Error(absl::StatusCode::kUnauthenticated, "CHECKPOINT_FORGED",
                 fmt::format("the checkpoint over {} records does not bear the signature of key {}",
                             checkpoint.tree_size(), checkpoint.key_id()));
  }
  return absl::OkStatus();
}

}  // namespace postern::audit
