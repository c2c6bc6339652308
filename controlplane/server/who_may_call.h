// Who may call what: one row for each RPC of postern.v1. An RPC without a row cannot be called; a test walks the
// descriptors both ways.
//
// The table decides by kind and role. What a caller may see or do within an RPC (own grants, own groups' approvals) the
// handlers decide.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "controlplane/identity/caller.h"

namespace postern::server {

// Bits of CallerRow::who.
inline constexpr uint32_t kAgent = 1;
inline constexpr uint32_t kPerson = 2;  // any person; the handler narrows it down
inline constexpr uint32_t kSidecar = 4;
inline constexpr uint32_t kAdmin = 8;
inline constexpr uint32_t kPolicyAuthor = 16;
inline constexpr uint32_t kApprover = 32;
inline constexpr uint32_t kAuditor = 64;
inline constexpr uint32_t kOperator = 128;
inline constexpr uint32_t kUnidentified = 256;  // proves itself by what the request holds
inline constexpr uint32_t kAnyone = kAgent | kPerson | kSidecar;

// Who writes the call down in the audit log.
enum class Record : uint8_t {
  kNothing,  // it reads
  kGate,     // before and after it, by RpcGate
  kItself,   // its handler, which knows more; refusals are RpcGate's
};

enum class Repeat : uint8_t {
  kAgain,     // a repeated request is done again; it reads, or has a memory of its own
  kAnswered,  // a repeated request_id gets the first answer, for 24 hours
};

struct CallerRow {
  // Service/Method, without the package.
  std::string_view method;
  uint32_t who;
  Record record;
  Repeat repeat;
};

std::span<const CallerRow> WhoMayCall();

// nullptr if there is no such RPC.
const CallerRow* FindRow(std::string_view method);

bool MayCall(const CallerRow& row, const identity::Caller& caller);

}  // namespace postern::server
