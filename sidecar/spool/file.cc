#include "sidecar/spool/file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"

namespace postern::spool {
namespace {

absl::Status Failed(std::string_view call, const std::string& path, int error) {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (error == ENOSPC || error == EDQUOT) code = absl::StatusCode::kResourceExhausted;
  if (error == ENOENT) code = absl::StatusCode::kNotFound;
  if (error == EWOULDBLOCK) code = absl::StatusCode::kFailedPrecondition;
  return Error(code, code == absl::StatusCode::kResourceExhausted ? "SPOOL_FULL" : "SPOOL_FAILED",
               fmt::format("{} {}: {}", call, path, std::generic_category().message(error)));
}

// Calls that a signal may interrupt, again.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class PosixFile : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  absl::Status Append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = Retry([&] { return ::write(fd_, bytes.data(), bytes.size()); });
      if (n < 0) return Failed("write", path_, errno);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

  absl::Status SyncData() override {
    // Not again after EINTR or anything else: a failed sync has already forgotten what it could not write.
    return ::fdatasync(fd_) == 0 ? absl::OkStatus() : Failed("fdatasync", path_, errno);
  }

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override {
    std::string bytes(static_cast<size_t>(length), '\0');
    size_t have = 0;
    while (have < bytes.size()) {
      const ssize_t n = Retry(
          [&] { return ::pread(fd_, bytes.data() + have, bytes.size() - have, offset + static_cast<int64_t>(have)); });
      if (n < 0) return Failed("read", path_, errno);
      if (n == 0) break;
      have += static_cast<size_t>(n);
    }
    bytes.resize(have);
    return bytes;
  }

  absl::Status Truncate(int64_t length) override {
    return Retry([&] { return ::ftruncate(fd_, length); }) == 0 ? absl::OkStatus() : Failed("truncate", path_, errno);
  }

  absl::StatusOr<int64_t> Size() override {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return Failed("stat", path_, errno);
    return static_cast<int64_t>(info.st_size);
  }

 private:
  const int fd_;
  const std::string path_;
};

class PosixFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path) override {
    return OpenWith(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
  }
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path) override { return OpenWith(path, O_RDWR); }

  absl::StatusOr<std::unique_ptr<File>> Lock(const std::string& path) override {
    const int fd = Retry([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); });
    if (fd < 0) return Failed("open", path, errno);
    auto file = std::make_unique<PosixFile>(fd, path);
    if (Retry([&] { return ::flock(fd, LOCK_EX | LOCK_NB); }) != 0) return Failed("lock", path, errno);
    return file;
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    const std::unique_ptr<DIR, CloseDirectory> dir(::opendir(directory.c_str()));
    if (dir == nullptr) return Failed("list", directory, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(dir.get())) {
      if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) names.emplace_back(entry->d_name);
    }
    if (errno != 0) return Failed("list", directory, errno);
    return names;
  }

  absl::Status MakeDirectory(const std::string& directory) override {
    if (::mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
    return Failed("mkdir", directory, errno);
  }

  absl::Status SyncDirectory(const std::string& directory) override {
    const int fd = Retry([&] { return ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd < 0) return Failed("open", directory, errno);
    const PosixFile opened(fd, directory);
    return ::fsync(fd) == 0 ? absl::OkStatus() : Failed("fsync", directory, errno);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : Failed("rename", from, errno);
  }

  absl::Status Unlink(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? absl::OkStatus() : Failed("unlink", path, errno);
  }

 private:
  struct CloseDirectory {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };

  static absl::StatusOr<std::unique_ptr<File>> OpenWith(const std::string& path, int flags) {
    const int fd = Retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600); });
    if (fd < 0) return Failed("open", path, errno);
    return std::make_unique<PosixFile>(fd, path);
  }
};

}  // namespace

FileSystem& FileSystem::System() {
  static auto* const system = new PosixFileSystem;
  return *system;
}

}  // namespace postern::spool
