// How the audit log is kept. The rules (chains, the tree, what is refused) are in audit_log.h; a store only keeps.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/audit/digest.h"
#include "common/audit/merkle.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// A record on its way into the log.
struct Leaf {
  // With leaf_index and ingest_time.
  v1::LoggedRecord logged;
  // The record, parsed; default if its bytes do not parse.
  v1::AuditRecord parsed;
  Digest record_hash;
  Digest leaf_hash;
};

// Where one writer's chain stands.
struct ChainHead {
  std::string epoch;
  int64_t sequence = 0;
  std::string chain_hash;
};

// Thread-safe. Errors are those of the store's engine: UNAVAILABLE/STORE_UNAVAILABLE, DATA_LOSS/STORE_CORRUPT.
class AuditStore {
 public:
  virtual ~AuditStore() = default;

  // One atomic change, which sees what earlier changes did. Used by one thread, within Write() only.
  class Change {
   public:
    virtual ~Change() = default;
    virtual absl::StatusOr<Frontier> Tree() = 0;
    virtual absl::StatusOr<std::optional<ChainHead>> Head(std::string_view writer, std::string_view epoch) = 0;
    // The head of the writer's chain that began last.
    virtual absl::StatusOr<std::optional<ChainHead>> NewestHead(std::string_view writer) = 0;
    // The chain hash stored for a record that is there.
    virtual absl::StatusOr<std::string> ChainHashAt(std::string_view writer, std::string_view epoch,
                                                    int64_t sequence) = 0;
    virtual absl::Status Append(const Leaf& leaf) = 0;
    // Once per chain and change, after its records are appended.
    virtual absl::Status SetHead(std::string_view writer, const ChainHead& head, int64_t first_leaf) = 0;
    virtual absl::Status SetTree(const Frontier& tree) = 0;
  };

  // Durable and visible to readers once OK; on an error nothing was changed (UNAVAILABLE: unknown).
  virtual absl::Status Write(const std::function<absl::Status(Change&)>& change) = 0;

  virtual absl::StatusOr<Frontier> Tree() const = 0;

  // Up to `limit` records among the leaves [from, end) that match, by leaf, ascending or descending.
  struct Range {
    int64_t from = 0;
    int64_t end = 0;
    bool ascending = true;
    int limit = 100;
    // Stops after the record with which what was found has more bytes than this.
    size_t most_bytes = std::numeric_limits<size_t>::max();
  };
  virtual absl::StatusOr<std::vector<v1::LoggedRecord>> Find(const v1::AuditFilter& filter,
                                                             const Range& range) const = 0;
  // Hashes of the leaves [from, end), in order.
  virtual absl::StatusOr<std::vector<Digest>> LeafHashes(int64_t from, int64_t end) const = 0;

  // Inserts; one of the same size that is there already stays.
  virtual absl::Status AddCheckpoint(const v1::Checkpoint& checkpoint) = 0;
  virtual absl::StatusOr<std::optional<v1::Checkpoint>> LatestCheckpoint() const = 0;
  // Those over more than `after` and at most `upto` leaves, smallest first.
  virtual absl::StatusOr<std::vector<v1::Checkpoint>> Checkpoints(int64_t after, int64_t upto) const = 0;

  virtual absl::Status AddKey(const v1::AuditKey& key, absl::Time now) = 0;
  virtual absl::StatusOr<std::vector<v1::AuditKey>> Keys() const = 0;
};

// The relations ("schema.name") in a record's effects, each once.
std::vector<std::string> RelationsOf(const v1::AuditRecord& record);

}  // namespace postern::audit
