// A string that must not be seen: it wipes itself, is not copied by accident, cannot be printed or compared, and is
// read through one word, so that `git grep Expose` lists every place where a secret leaves its wrapper.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/crypto.h>

namespace postern::crypto {

class Secret {
 public:
  Secret() = default;
  // Copies `text`; the caller's own copy is the caller's to wipe (see Take).
  explicit Secret(std::string_view text) : size_(text.size()) {
    if (size_ == 0) return;
    bytes_ = std::make_unique<char[]>(size_);
    std::memcpy(bytes_.get(), text.data(), size_);
  }

  // Moves the bytes of `text` here and wipes the original.
  static Secret Take(std::string& text) {
    Secret secret{std::string_view(text)};
    OPENSSL_cleanse(text.data(), text.size());
    text.clear();
    return secret;
  }

  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      Wipe();
      bytes_ = std::move(other.bytes_);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~Secret() { Wipe(); }

  Secret Clone() const { return Secret(Expose()); }

  // The bytes. Valid while this object lives and is not moved from.
  std::string_view Expose() const { return {bytes_.get(), size_}; }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

 private:
  void Wipe() {
    if (bytes_ != nullptr) OPENSSL_cleanse(bytes_.get(), size_);
  }

  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
};

}  // namespace postern::crypto
