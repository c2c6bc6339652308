// The few file operations that the spool needs, so that tests can make the real ones fail.
//
// Errors are absl::Status: RESOURCE_EXHAUSTED for ENOSPC and EDQUOT, NOT_FOUND for ENOENT, FAILED_PRECONDITION for a
// taken lock, UNAVAILABLE for everything else; the message names the call, the path and the errno text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace postern::spool {

// An open file; closed by the destructor. Calls for different purposes may run at the same time (one thread appends
// while another syncs or reads), the caller serialises appends.
class File {
 public:
  virtual ~File() = default;
  // Appends all of `bytes`. On an error any part of them, from the front, may have been written.
  virtual absl::Status Append(std::string_view bytes) = 0;
  // fdatasync. After an error nothing may be assumed about what was appended since the last success: the kernel forgets
  // such pages, and the next fdatasync answers OK.
  virtual absl::Status SyncData() = 0;
  // Up to `length` bytes from `offset`; fewer only at the end of the file.
  virtual absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) = 0;
  virtual absl::Status Truncate(int64_t length) = 0;
  virtual absl::StatusOr<int64_t> Size() = 0;
};

// Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // Creates a file that does not exist, mode 0600, for appending and reading.
  virtual absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path) = 0;
  // Opens an existing file for reading, syncing and truncating.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path) = 0;
  // Takes an exclusive lock (flock) on `path`, created if absent, for as long as the file is open.
  virtual absl::StatusOr<std::unique_ptr<File>> Lock(const std::string& path) = 0;
  // Names, without the folder, of the regular files in it, in no order.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;
  // OK if it exists already. Mode 0700.
  virtual absl::Status MakeDirectory(const std::string& directory) = 0;
  // Makes names created, renamed and unlinked in it durable.
  virtual absl::Status SyncDirectory(const std::string& directory) = 0;
  // Replaces `to` atomically.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Unlink(const std::string& path) = 0;

  // The operating system's. Never destroyed.
  static FileSystem& System();
};

}  // namespace postern::spool
