// Postgres's parse tree, as libpg_query's raw parser leaves it in memory: the one place that includes server headers.
// Only .cc files of common/sql include it (and their tests), and after everything else where that can be arranged:
// the server's headers define short macros, of which the harmful ones are undone below.
//
// Written for PostgreSQL 15's headers; 16 and 17 differ only in nodes that are added, which the node table refuses.
#pragma once

extern "C" {
#include <pg_query.h>
// Both pg_query.h and the server's pg_config.h define these.
#undef PG_MAJORVERSION
#undef PG_VERSION
#undef PG_VERSION_NUM
#include <postgres.h>
// The nodes need postgres.h before them.
#include <nodes/parsenodes.h>
#include <pg_query/pg_query_internal.h>
}

#undef Abs
#undef Assert
#undef DEBUG
#undef ERROR
#undef FATAL
#undef INFO
#undef LOG
#undef Max
#undef Min
#undef NOTICE
#undef PANIC
#undef StaticAssertDecl
#undef WARNING
#undef _
#undef foreach
#undef fprintf
#undef gettext
#undef lengthof
#undef ngettext
#undef printf
#undef snprintf
#undef sprintf
#undef strerror
#undef strerror_r
#undef vfprintf
#undef vprintf
#undef vsnprintf
#undef vsprintf

#include <string_view>

namespace postern::sql::internal {

// The node as its own type. The caller has checked the tag.
template <typename T>
const T* As(const void* node) {
  return static_cast<const T*>(node);
}

// The text of a String node; "" for nullptr.
inline std::string_view StringOf(const ::Node* node) {
  if (node == nullptr || nodeTag(node) != T_String) return {};
  const char* text = As<::String>(node)->sval;
  return text == nullptr ? std::string_view() : std::string_view(text);
}

inline std::string_view View(const char* text) { return text == nullptr ? std::string_view() : std::string_view(text); }

// LimitOption of FETCH FIRST … WITH TIES as the parser writes it: in libpg_query LIMIT_OPTION_DEFAULT comes first, in
// the server's header last. It is the one enum that they do not share.
inline constexpr int kLimitWithTies = 2;

// Iterates over a List of nodes; nullptr is the empty list.
class Items {
 public:
  class Iterator {
   public:
    explicit Iterator(const ::ListCell* cell) : cell_(cell) {}
    const ::Node* operator*() const { return static_cast<const ::Node*>(cell_->ptr_value); }
    Iterator& operator++() {
      ++cell_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return cell_ != other.cell_; }

   private:
    const ::ListCell* cell_;
  };

  explicit Items(const ::List* list) : list_(list) {}
  // A List handled as a Node, as in `x IN (1, 2)`.
  explicit Items(const ::Node* node) : list_(reinterpret_cast<const ::List*>(node)) {}
  Iterator begin() const { return Iterator(list_ == nullptr ? nullptr : list_->elements); }
  Iterator end() const { return Iterator(list_ == nullptr ? nullptr : list_->elements + list_->length); }
  int size() const { return list_ == nullptr ? 0 : list_->length; }
  bool empty() const { return size() == 0; }
  const ::Node* operator[](int i) const { return static_cast<const ::Node*>(list_->elements[i].ptr_value); }

 private:
  const ::List* list_;
};

}  // namespace postern::sql::internal
