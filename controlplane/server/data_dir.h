// The folder in which a control plane keeps its state.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace postern::server {

// Holds the folder for one process: an advisory lock on DIR/lock, let go by the destructor or by the process's end.
class DataDir {
 public:
  // Makes the folder (mode 0700) if it is not there.
  //   FAILED_PRECONDITION/DATA_DIR_IN_USE: another process holds it. UNAVAILABLE/DATA_DIR: it cannot be used.
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  std::string database_path() const { return path_ + "/postern.db"; }
  std::string ca_path() const { return path_ + "/ca.pem"; }

  // Replaces a file of the folder by another with `text`, atomically.
  absl::Status WriteFile(const std::string& path, std::string_view text) const;

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  const std::string path_;
  const int lock_fd_;
};

}  // namespace postern::server
