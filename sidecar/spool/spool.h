// The sidecar's write-ahead audit: what happens is on the local disk before it happens, and stays there until the
// control plane has it. docs/formats/spool.md.
//
// Use, once per wake-up of an event loop:
//
//   auto ticket = spool.Append(intent, Durability::kRelaxed);   // for each statement; about a microsecond, no system
//   call POSTERN_RETURN_IF_ERROR(spool.Flush());                     // one write(2) for all of them
//   ... forward the statements ...
//
// and for a statement whose record must survive a power cut:
//
//   auto ticket = spool.Append(intent, Durability::kStrict);
//   spool.WhenDurable(*ticket, [this](absl::Status status) { loop.Post(...); });   // forward there, if OK
//
// Records are of two sorts. A *gate* (SESSION_START, SESSION_REFUSED, STATEMENT_INTENT) announces what can still be
// prevented: when the spool is full or its disk fails, Append refuses it and the caller must not go on. A *fact* (all
// others) tells what has happened already: it is taken even then, in memory and in space that is kept back for it, and
// reaches the disk when the disk works again.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "postern/v1/audit.pb.h"
#include "sidecar/spool/file.h"

namespace postern::spool {

enum class Durability {
  // In the kernel when Flush() returns: survives the death of this process, not that of the machine. Reaches the disk
  // within Options::sync_interval.
  kRelaxed,
  // On the disk when the WhenDurable() callback says OK.
  kStrict,
};

// Where a record stands among everything that this sidecar wrote. Positions of different epochs have no order of their
// own; the spool knows it.
struct Position {
  std::string epoch;
  // From 1; 0 is before the first record.
  int64_t sequence = 0;
  bool operator==(const Position&) const = default;
};

struct Options {
  // Created with mode 0700 if absent. One process at a time: Open() locks it.
  std::string directory;
  // The sidecar's id, at most 128 bytes. A spool of another writer is refused.
  std::string writer;
  // A segment is closed and the next begun once it is this long.
  int64_t segment_bytes = 16 << 20;
  // Gates are refused when segments and pending bytes reach this; at least 4 segments.
  int64_t max_bytes = int64_t{1} << 30;
  // Kept back for facts above max_bytes, and in memory while the disk fails.
  int64_t reserve_bytes = 64 << 20;
  // Serialized records above this are split (common/audit/parts.h).
  size_t max_record_bytes = 256 << 10;
  // Relaxed records are on the disk, and readable, this much later at most. A strict record takes all before it along.
  absl::Duration sync_interval = absl::Milliseconds(200);
  // Pause between two attempts to write again after a failure.
  absl::Duration retry_interval = absl::Milliseconds(250);
};

// What one Append() took: the record's last sequence. Tickets of one spool are ordered by time of Append().
struct Ticket {
  int64_t sequence = 0;
};

struct Stats {
  // Newest record appended, handed to the kernel, on the disk, acknowledged (0 if that was in an earlier epoch).
  int64_t appended = 0;
  int64_t written = 0;
  int64_t durable = 0;
  int64_t acknowledged = 0;
  // Bytes of segments and of what waits for them.
  int64_t bytes = 0;
  // Monotonic counts since Open().
  int64_t syncs = 0;
  int64_t failures = 0;
  int64_t refused = 0;
  // OK, or why gates are refused now.
  absl::Status health;
};

// Thread-safe.
class Spool {
 public:
  // Opens or creates the spool and checks every record in it. Damage (a torn tail, a flipped bit, a missing segment)
  // ends the epoch at the last whole record before it: what follows is set aside in the directory, a new epoch begins,
  // and its first record is an ALARM that says what was cut where.
  //   UNAVAILABLE/SPOOL_FAILED: the directory cannot be read or written.
  //   FAILED_PRECONDITION/SPOOL_IN_USE: another process has it open.
  //   FAILED_PRECONDITION/SPOOL_OTHER_WRITER: it belongs to another sidecar.
  // `files`, `clock` and `random` are not owned and outlive the spool.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(const Options& options, FileSystem& files, const Clock& clock,
                                                     Random& random);
  virtual ~Spool() = default;

  // Chains `record` and queues its bytes. Sets `time` if the record has none. Does no input or output of its own,
  // unless a lot is queued. Nothing is promised about the disk until Flush() or WhenDurable() says so. kStrict wakes
  // the thread that syncs, so nobody needs to Flush() for it.
  //   RESOURCE_EXHAUSTED/SPOOL_FULL: a gate, and the spool is at its limit or the disk is full. A fact, and the reserve
  //     is used up as well: the caller should end the session.
  //   UNAVAILABLE/SPOOL_FAILED: a gate, and the last write or sync failed and has not been made good. Retryable.
  // A refused record is not in the chain.
  virtual absl::StatusOr<Ticket> Append(const v1::AuditRecord& record, Durability durability) = 0;

  // The same for a record that is serialized already, as by audit::SerializeRecord(), with its time. `kind` is that
  // of the record.
  virtual absl::StatusOr<Ticket> AppendSerialized(v1::AuditKind kind, std::string_view record,
                                                  Durability durability) = 0;

  // Hands everything appended so far to the kernel. When this returns OK, relaxed records may be acted upon. An error
  // (SPOOL_FULL, SPOOL_FAILED) means that the records of this batch are not safe: do not act on their gates. They stay
  // in the chain, and later reach the disk; tell with an outcome record ("not forwarded") that nothing came of them.
  virtual absl::Status Flush() = 0;

  // Calls `done` once: OK when the ticket's record, and all before it, are on the disk; the error if that fails.
  // Usually on the spool's thread, possibly before this returns. Must not block, and may call Append() but not Flush().
  virtual void WhenDurable(Ticket ticket, std::function<void(absl::Status)> done) = 0;

  // Flushes, and blocks until all that was appended is on the disk or has failed. For shutdown and tests.
  virtual absl::Status Sync() = 0;

  // --- For the uploader ---

  // Durable records after `after`, oldest first, of one epoch, until their records exceed `max_bytes` (at least one, if
  // there is one). Empty: nothing new. Only what is on the disk is ever returned, so the control plane never knows a
  // record that a power cut could take from us.
  //   NOT_FOUND/SPOOL_POSITION: `after` is neither in the spool nor acknowledged. Go on from acknowledged().
  //   DATA_LOSS/SPOOL_DAMAGED: a segment no longer reads as it was written.
  virtual absl::StatusOr<std::vector<v1::ChainedRecord>> Read(const Position& after, int64_t max_bytes) = 0;

  // The control plane has committed everything up to `upto`. Segments that this covers whole are unlinked, after the
  // ledger that says so is on the disk. Positions at or before the last acknowledged one are ignored.
  //   NOT_FOUND/SPOOL_POSITION: this spool never wrote it.
  virtual absl::Status Acknowledge(const Position& upto) = 0;

  // Where the uploader begins after a start: everything up to here is safe at the control plane.
  virtual Position acknowledged() const = 0;

  // `listener` is called on the spool's thread each time that more became readable; must not block nor call back into
  // the spool, and replaces the one before. Empty: none; once this returned, the one before is not running any more.
  virtual void SetListener(std::function<void()> listener) = 0;

  virtual Stats stats() const = 0;
};

}  // namespace postern::spool
