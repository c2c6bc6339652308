#include "common/crypto/seal.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/base64.h"
#include "common/crypto/openssl_util.h"

namespace postern::crypto {
namespace {

constexpr std::string_view kMagic = "PSE1";
constexpr std::string_view kWrapLabel = "postern-sealed-key-v1\n";
constexpr std::string_view kDataLabel = "postern-sealed-data-v1\n";
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr size_t kMaxIdBytes = 32;
constexpr size_t kWrappedBytes = kNonceBytes + kKekBytes + kTagBytes;
constexpr size_t kMaxFileBytes = 64 * 1024;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

const unsigned char* In(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* Out(std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

// nonce || ciphertext || tag.
absl::StatusOr<std::string> Encrypt(std::string_view key, std::string_view plaintext, std::string_view aad,
                                    Random& random) {
  const std::string nonce = random.Bytes(kNonceBytes);
  std::string ciphertext(plaintext.size(), '\0');
  std::string tag(kTagBytes, '\0');
  int length = 0;
  const CipherCtxPtr ctx(EVP_CIPHER_CTX_new());
  if (EVP_EncryptInit_ex(ctx.get(), EVP_aes_256_gcm(), nullptr, In(key), In(nonce)) != 1 ||
      EVP_EncryptUpdate(ctx.get(), nullptr, &length, In(aad), static_cast<int>(aad.size())) != 1 ||
      EVP_EncryptUpdate(ctx.get(), Out(ciphertext), &length, In(plaintext), static_cast<int>(plaintext.size())) != 1 ||
      EVP_EncryptFinal_ex(ctx.get(), Out(ciphertext) + length, &length) != 1 ||
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, tag.data()) != 1) {
    return OpenSslError("cannot seal");
  }
  return nonce + ciphertext + tag;
}

absl::StatusOr<Secret> Decrypt(std::string_view key, std::string_view box, std::string_view aad) {
  const auto broken = [] {
    return Error(absl::StatusCode::kDataLoss, "SEAL_BROKEN",
                 "a sealed record was altered, or belongs to another place");
  };
  if (box.size() < kNonceBytes + kTagBytes) return broken();
  const std::string_view nonce = box.substr(0, kNonceBytes);
  const std::string_view ciphertext = box.substr(kNonceBytes, box.size() - kNonceBytes - kTagBytes);
  std::string tag(box.substr(box.size() - kTagBytes));
  std::string plaintext(ciphertext.size(), '\0');
  int length = 0;
  const CipherCtxPtr ctx(EVP_CIPHER_CTX_new());
  const bool ok =
      EVP_DecryptInit_ex(ctx.get(), EVP_aes_256_gcm(), nullptr, In(key), In(nonce)) == 1 &&
      EVP_DecryptUpdate(ctx.get(), nullptr, &length, In(aad), static_cast<int>(aad.size())) == 1 &&
      EVP_DecryptUpdate(ctx.get(), Out(plaintext), &length, In(ciphertext), static_cast<int>(ciphertext.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(ctx.get(), Out(plaintext) + length, &length) == 1;
  Secret secret = Secret::Take(plaintext);
  if (!ok) return broken();
  return secret;
}

std::string Header(std::string_view id) {
  std::string header(kMagic);
  header.push_back(static_cast<char>(id.size()));
  return header.append(id);
}

std::string DataAad(std::string_view header_and_key, std::string_view associated_data) {
  return std::string(kDataLabel).append(header_and_key).append(associated_data);
}

absl::Status MalformedKeks(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "KEK_MALFORMED", what,
               "A key file has lines of `id base64(32 bytes)`.");
}

bool IsKekId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

absl::StatusOr<Secret> ReadKeyFile(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) {
    return Error(absl::StatusCode::kNotFound, "KEK_FILE_MISSING", fmt::format("there is no key file {}", path));
  }
  struct stat info {};
  const auto unreadable = [&path] {
    return Error(absl::StatusCode::kUnavailable, "KEK_FILE_UNREADABLE",
                 fmt::format("cannot read key file {}: {}", path, std::strerror(errno)));
  };
  if (file.get() < 0 || fstat(file.get(), &info) != 0) return unreadable();
  if (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEK_FILE_OPEN_TO_OTHERS",
                 fmt::format("key file {} must be a plain file that only its owner may read", path),
                 "Set its mode with `chmod 600`.");
  }
  std::string text(kMaxFileBytes, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unreadable();
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  Secret contents(std::string_view(text).substr(0, size));
  OPENSSL_cleanse(text.data(), text.size());
  return contents;
}

}  // namespace

absl::StatusOr<Keyring> Keyring::Create(std::vector<Kek> keks) {
  if (keks.empty()) return MalformedKeks("there is no key");
  for (auto kek = keks.begin(); kek != keks.end(); ++kek) {
    if (!IsKekId(kek->id)) return MalformedKeks("a key's id must be 1 to 32 of a-z, 0-9 and -");
    if (kek->key.size() != kKekBytes) return MalformedKeks(fmt::format("key {} does not have 32 bytes", kek->id));
    if (std::any_of(keks.begin(), kek, [&](const Kek& other) { return other.id == kek->id; })) {
      return MalformedKeks(fmt::format("two keys have the id {}", kek->id));
    }
  }
  return Keyring(std::move(keks));
}

absl::StatusOr<Keyring> Keyring::Load(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const Secret contents, ReadKeyFile(path));
  std::vector<Kek> keks;
  for (std::string_view rest = contents.Expose(); !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.starts_with('#')) continue;
    const size_t space = line.find(' ');
    absl::StatusOr<std::string> key =
        Base64Decode(space == std::string_view::npos ? std::string_view() : line.substr(space + 1));
    if (!key.ok()) return MalformedKeks(fmt::format("a line of {} is not `id base64(key)`", path));
    keks.push_back({std::string(line.substr(0, space)), Secret::Take(*key)});
  }
  return Create(std::move(keks));
}

absl::Status Keyring::CreateFile(const std::string& path, std::string_view id, Random& random) {
  if (!IsKekId(id)) return MalformedKeks("a key's id must be 1 to 32 of a-z, 0-9 and -");
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0 && errno == EEXIST) {
    return Error(absl::StatusCode::kAlreadyExists, "KEK_FILE_EXISTS", fmt::format("{} exists already", path));
  }
  std::string key = random.Bytes(kKekBytes);
  std::string line = fmt::format("{} {}\n", id, Base64Encode(key));
  const bool written =
      file.get() >= 0 && write(file.get(), line.data(), line.size()) == std::ssize(line) && fsync(file.get()) == 0;
  const int error = errno;
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(line.data(), line.size());
  if (written) return absl::OkStatus();
  if (file.get() >= 0) unlink(path.c_str());
  return Error(absl::StatusCode::kUnavailable, "KEK_FILE_UNREADABLE",
               fmt::format("cannot write key file {}: {}", path, std::strerror(error)));
}

absl::StatusOr<std::string> Keyring::Seal(const Secret& plaintext, std::string_view associated_data,
                                          Random& random) const {
  const Kek& kek = keks_.front();
  std::string dek_bytes = random.Bytes(kKekBytes);
  const Secret dek = Secret::Take(dek_bytes);
  std::string sealed = Header(kek.id);
  POSTERN_ASSIGN_OR_RETURN(const std::string wrapped,
                           Encrypt(kek.key.Expose(), dek.Expose(), std::string(kWrapLabel) + sealed, random));
  sealed += wrapped;
  POSTERN_ASSIGN_OR_RETURN(const std::string box,
                           Encrypt(dek.Expose(), plaintext.Expose(), DataAad(sealed, associated_data), random));
  return sealed + box;
}

absl::StatusOr<Secret> Keyring::Open(std::string_view sealed, std::string_view associated_data) const {
  const auto broken = [] {
    return Error(absl::StatusCode::kDataLoss, "SEAL_BROKEN", "a sealed record does not have the form of one");
  };
  if (sealed.size() <= kMagic.size() || !sealed.starts_with(kMagic)) return broken();
  const size_t id_size = static_cast<unsigned char>(sealed[kMagic.size()]);
  const size_t header_size = kMagic.size() + 1 + id_size;
  if (sealed.size() < header_size + kWrappedBytes) return broken();
  const std::string_view header = sealed.substr(0, header_size);
  const std::string_view id = header.substr(kMagic.size() + 1);
  const auto kek = std::find_if(keks_.begin(), keks_.end(), [&](const Kek& each) { return each.id == id; });
  if (kek == keks_.end()) {
    return Error(absl::StatusCode::kNotFound, "KEK_UNKNOWN",
                 "a sealed record needs a key that the key file does not have",
                 "Restore the key file of the time when the record was written.");
  }
  POSTERN_ASSIGN_OR_RETURN(const Secret dek, Decrypt(kek->key.Expose(), sealed.substr(header_size, kWrappedBytes),
                                                     std::string(kWrapLabel).append(header)));
  return Decrypt(dek.Expose(), sealed.substr(header_size + kWrappedBytes),
                 DataAad(sealed.substr(0, header_size + kWrappedBytes), associated_data));
}

}  // namespace postern::crypto
