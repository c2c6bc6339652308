#include "common/audit/chain.h"

#include <utility>

#include "common/base/errors.h"
#include "fmt/format.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace postern::audit {
namespace {

constexpr std::string_view kContext = "postern-chain-v1\n";

absl::Status Broken(std::string_view reason, std::string_view what, const v1::ChainedRecord& next) {
  return Error(absl::StatusCode::kDataLoss, reason,
               fmt::format("record {} of writer {} (epoch {}) {}", next.sequence(), next.writer(), next.epoch(), what),
               "Keep the log as it is and find out who had access to it.");
}

}  // namespace

std::string SerializeRecord(const v1::AuditRecord& record) {
  std::string bytes(record.ByteSizeLong(), '\0');
  google::protobuf::io::ArrayOutputStream array(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedOutputStream coded(&array);
  coded.SetSerializationDeterministic(true);
  record.SerializeWithCachedSizes(&coded);
  return bytes;
}

Digest ChainHash(std::string_view previous, const Digest& record_hash, std::string_view epoch, int64_t sequence) {
  char tail[1 + sizeof(int64_t)] = {0};
  for (size_t i = 0; i < sizeof(int64_t); ++i) {
    tail[1 + i] = static_cast<char>(static_cast<uint64_t>(sequence) >> (8 * (sizeof(int64_t) - 1 - i)));
  }
  return Sha256({kContext, previous, View(record_hash), epoch, std::string_view(tail, sizeof(tail))});
}

Chain::Chain(std::string writer, std::string epoch)
    : Chain(std::move(writer), std::move(epoch), 0, std::string(kDigestBytes, '\0')) {}

Chain::Chain(std::string writer, std::string epoch, int64_t sequence, std::string chain_hash)
    : writer_(std::move(writer)), epoch_(std::move(epoch)), sequence_(sequence), hash_(std::move(chain_hash)) {}

const std::string& Chain::Advance(const Digest& record_hash) {
  hash_ = View(ChainHash(hash_, record_hash, epoch_, ++sequence_));
  return hash_;
}

v1::ChainedRecord Chain::Append(std::string record_bytes) {
  Advance(Sha256({record_bytes}));
  v1::ChainedRecord link;
  link.set_writer(writer_);
  link.set_epoch(epoch_);
  link.set_sequence(sequence_);
  link.set_record(std::move(record_bytes));
  link.set_chain_hash(hash_);
  return link;
}

absl::Status Chain::Follow(const v1::ChainedRecord& next) { return Follow(next, Sha256({next.record()})); }

absl::Status Chain::Follow(const v1::ChainedRecord& next, const Digest& record_hash) {
  if (next.epoch() != epoch_) {
    return Broken("CHAIN_WRONG_EPOCH", fmt::format("does not belong to epoch {}", epoch_), next);
  }
  if (next.writer() != writer_) {
    return Broken("CHAIN_MISMATCH", fmt::format("is not by the writer of this chain, {}", writer_), next);
  }
  if (next.sequence() != sequence_ + 1) {
    return Broken("CHAIN_GAP", fmt::format("stands where record {} belongs", sequence_ + 1), next);
  }
  const Digest expected = ChainHash(hash_, record_hash, epoch_, next.sequence());
  if (next.chain_hash() != View(expected)) {
    return Broken("CHAIN_MISMATCH", "does not have the hash that its content and the record before it give", next);
  }
  hash_ = next.chain_hash();
  sequence_ = next.sequence();
  return absl::OkStatus();
}

}  // namespace postern::audit
