// Randomness as an injected dependency.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace postern {

// Thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  // Fills `out` with random bytes.
  virtual void Fill(std::span<uint8_t> out) = 0;
  // `n` random bytes.
  std::string Bytes(size_t n);

  // OpenSSL's CSPRNG; ends the process if the system has no entropy to give. Never destroyed.
  static Random& System();
};

}  // namespace postern
