// What may be asked of the audit log by whoever only reads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// Thread-safe.
class AuditReader {
 public:
  virtual ~AuditReader() = default;

  // One page of what matches; a token belongs to the filter and order that it was given for.
  //   INVALID_ARGUMENT/INVALID_ARGUMENT: page_size out of range. INVALID_ARGUMENT/PAGE_TOKEN_INVALID.
  virtual absl::StatusOr<v1::QueryAuditResponse> Query(const v1::QueryAuditRequest& request) const = 0;

  // Up to `limit` matching records in leaf order from `from_leaf` on, among the first `end_leaf` leaves. `next_leaf` is
  // where to go on; it equals end_leaf when all are read.
  struct Batch {
    std::vector<v1::LoggedRecord> records;
    int64_t next_leaf = 0;
  };
  virtual absl::StatusOr<Batch> Scan(const v1::AuditFilter& filter, int64_t from_leaf, int64_t end_leaf,
                                     int limit) const = 0;

  // Leaves committed so far. Costs a lock.
  virtual int64_t size() const = 0;

  // Calls `grown` after each commit that added leaves, until the subscription is destroyed, which waits for a call that
  // is running. On the committing thread: must not block, nor call back into the log.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  virtual std::unique_ptr<Subscription> Subscribe(std::function<void()> grown) = 0;

  // The latest signed checkpoint. At most a second behind size(), unless signing or the store fails.
  virtual v1::Checkpoint checkpoint() const = 0;

  // All public keys that checkpoints were ever signed with.
  virtual absl::StatusOr<std::vector<v1::AuditKey>> Keys() const = 0;

  // Streams an export of the log as it stands, ending in a fresh checkpoint. `sink` returns false to stop.
  //   INVALID_ARGUMENT/INVALID_ARGUMENT: from_leaf is negative or beyond the log.
  virtual absl::Status Export(int64_t from_leaf, const std::function<bool(const v1::ExportAuditResponse&)>& sink) = 0;
};

}  // namespace postern::audit
