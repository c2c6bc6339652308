// What a spool finds on the disk when it starts: which segments are whole, and what is not. docs/formats/spool.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "sidecar/spool/file.h"
#include "sidecar/spool/segment.h"

namespace postern::spool {

inline constexpr std::string_view kLedgerName = "ledger";
inline constexpr std::string_view kLockName = "lock";

// A segment file and the records in it that count.
struct Segment {
  SegmentHeader header;
  std::string path;
  std::shared_ptr<File> file;
  // Last record that counts; first_sequence - 1 if there is none.
  int64_t last_sequence = 0;
  // Length up to the end of that record.
  int64_t bytes = 0;
  // How much of that is known to be on the disk.
  int64_t durable_bytes = 0;
};

// Why an epoch had to end.
struct Wound {
  // Where the last whole record before the damage stands; its chain hash.
  std::string epoch;
  int64_t last_sequence = 0;
  std::string last_hash;
  // In words, with the file and the offset.
  std::string cause;
  // Bytes taken out of use, and the files that they are kept in.
  int64_t bytes = 0;
  std::vector<std::string> kept_in;
};

struct Recovered {
  // In order. All of their records are on the disk and their chains hold.
  std::vector<Segment> segments;
  // As read; nullopt if there is none or it is damaged.
  std::optional<Ledger> ledger;
  std::optional<Wound> wound;
  // Where the chain goes on. Empty epoch: nothing is there, or the epoch is over.
  std::string epoch;
  int64_t last_sequence = 0;
  std::string last_hash;
  int64_t next_number = 1;
};

// Reads and checks everything in `directory`. Damage is cut: what follows it is moved to files
// named <number>-<offset>.damaged.
//   FAILED_PRECONDITION/SPOOL_OTHER_WRITER. UNAVAILABLE/SPOOL_FAILED: a file could not be read or moved.
absl::StatusOr<Recovered> Recover(FileSystem& files, const std::string& directory, const std::string& writer);

// <directory>/<number, 16 digits>.spool
std::string SegmentPath(const std::string& directory, int64_t number);

// Replaces the ledger durably.
absl::Status WriteLedger(FileSystem& files, const std::string& directory, const Ledger& ledger);

}  // namespace postern::spool
