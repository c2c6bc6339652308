#include "controlplane/server/data_dir.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/errors.h"
#include "fmt/format.h"

namespace postern::server {
namespace {

absl::Status Unusable(std::string_view path) {
  return Error(absl::StatusCode::kUnavailable, "DATA_DIR", fmt::format("cannot use {}: {}", path, std::strerror(errno)),
               "data_dir must be a folder that this user may write");
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Unusable(path);
  const std::string lock_path = path + "/lock";
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Unusable(lock_path);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return Error(absl::StatusCode::kFailedPrecondition, "DATA_DIR_IN_USE",
                 fmt::format("another process works in {}", path), "stop that one first");
  }
  return std::unique_ptr<DataDir>(new DataDir(path, fd));
}

DataDir::~DataDir() { close(lock_fd_); }

absl::Status DataDir::WriteFile(const std::string& path, std::string_view text) const {
  const std::string fresh = path + ".new";
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return Unusable(fresh);
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  if (close(fd) != 0 || !written || rename(fresh.c_str(), path.c_str()) != 0) return Unusable(path);
  return absl::OkStatus();
}

}  // namespace postern::server
