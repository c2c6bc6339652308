#include "sidecar/uplink/identity_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::sidecar {
namespace {

constexpr char kFileName[] = "identity.json";

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status NotWritten(const std::string& path, int error) {
  return Error(absl::StatusCode::kUnavailable, "FILE_NOT_WRITTEN",
               fmt::format("cannot write {}: {}", path, std::system_category().message(error)),
               "check the disk and the owner of the data directory");
}

absl::Status WriteAndSync(const std::string& path, std::string_view bytes) {
  Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) return NotWritten(path, errno);
  // The file may be left over from an earlier attempt, with another mode.
  if (fchmod(file.get(), 0600) != 0) return NotWritten(path, errno);
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return NotWritten(path, errno);
    bytes.remove_prefix(written);
  }
  if (fsync(file.get()) != 0) return NotWritten(path, errno);
  return absl::OkStatus();
}

absl::Status Damaged(const std::string& path) {
  return Error(absl::StatusCode::kDataLoss, "IDENTITY_DAMAGED", fmt::format("{} is not a sidecar's identity", path),
               "remove it and join again");
}

}  // namespace

absl::Status ReplaceFile(const std::string& data_dir, const std::string& name, std::string_view bytes) {
  std::error_code error;
  if (!std::filesystem::exists(data_dir, error)) {
    std::filesystem::create_directories(data_dir, error);
    if (error) return NotWritten(data_dir, error.value());
    if (chmod(data_dir.c_str(), 0700) != 0) return NotWritten(data_dir, errno);
  }
  const std::string path = fmt::format("{}/{}", data_dir, name);
  const std::string fresh = path + ".new";
  POSTERN_RETURN_IF_ERROR(WriteAndSync(fresh, bytes));
  if (rename(fresh.c_str(), path.c_str()) != 0) return NotWritten(path, errno);
  Fd directory(open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return NotWritten(data_dir, errno);
  return absl::OkStatus();
}

absl::StatusOr<SidecarIdentity> LoadIdentity(const std::string& data_dir) {
  const std::string path = fmt::format("{}/{}", data_dir, kFileName);
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) {
      return Error(absl::StatusCode::kNotFound, "NOT_JOINED", fmt::format("there is no {}", path),
                   "join first: `postern sidecar invite` prints the line for `postern-sidecar join`");
    }
    return Error(absl::StatusCode::kUnavailable, "IDENTITY_UNREADABLE",
                 fmt::format("cannot read {}: {}", path, std::system_category().message(errno)));
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "IDENTITY_OPEN_TO_OTHERS",
                 fmt::format("{} holds a private key and is open to group or others", path),
                 fmt::format("chmod 600 {}", path));
  }
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  const nlohmann::json json = nlohmann::json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("version", 0) != 1) return Damaged(path);
  try {
    SidecarIdentity identity;
    identity.address = json.at("address").get<std::string>();
    identity.sidecar_id = json.at("sidecar_id").get<std::string>();
    identity.generation = json.at("generation").get<int64_t>();
    std::string key = json.at("key_pem").get<std::string>();
    identity.key_pem = crypto::Secret::Take(key);
    identity.certificate_chain_pem = json.at("certificate_chain_pem").get<std::string>();
    identity.ca_pem = json.at("ca_pem").get<std::string>();
    return identity;
  } catch (const nlohmann::json::exception&) {
    return Damaged(path);
  }
}

absl::Status SaveIdentity(const SidecarIdentity& identity, const std::string& data_dir) {
  const nlohmann::json json = {{"version", 1},
                               {"address", identity.address},
                               {"sidecar_id", identity.sidecar_id},
                               {"generation", identity.generation},
                               {"key_pem", std::string(identity.key_pem.Expose())},
                               {"certificate_chain_pem", identity.certificate_chain_pem},
                               {"ca_pem", identity.ca_pem}};
  return ReplaceFile(data_dir, kFileName, json.dump(2) + "\n");
}

}  // namespace postern::sidecar
