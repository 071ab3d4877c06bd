// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Numbers of 200 bits, by MPFR: what an oracle needs whose own rounding nobody has to think of.

#include <utility>

#include <mpfr.h>

namespace idiolect::test {

class big {
 public:
  big(double x = 0) {  // implicit: formulas read as with other numbers
    mpfr_init2(v_, 200);
    mpfr_set_d(v_, x, MPFR_RNDN);
  }
  big(const big& other) {
    mpfr_init2(v_, 200);
    mpfr_set(v_, other.v_, MPFR_RNDN);
  }
  big& operator=(const big& other) {
    mpfr_set(v_, other.v_, MPFR_RNDN);
    return *this;
  }
  ~big() { mpfr_clear(v_); }

  explicit operator long double() const { return mpfr_get_ld(v_, MPFR_RNDN); }

  big& operator+=(const big& b) {
    mpfr_add(v_, v_, b.v_, MPFR_RNDN);
    return *this;
  }
  friend big operator+(big a, const big& b) { return a += b; }
  friend big operator-(big a, const big& b) {
    mpfr_sub(a.v_, a.v_, b.v_, MPFR_RNDN);
    return a;
  }
  friend big operator-(big a) {
    mpfr_neg(a.v_, a.v_, MPFR_RNDN);
    return a;
  }
  friend big operator*(big a, const big& b) {
    mpfr_mul(a.v_, a.v_, b.v_, MPFR_RNDN);
    return a;
  }
  friend big operator/(big a, const big& b) {
    mpfr_div(a.v_, a.v_, b.v_, MPFR_RNDN);
    return a;
  }
  friend bool operator<(const big& a, const big& b) { return mpfr_less_p(a.v_, b.v_) != 0; }
  friend bool operator>(const big& a, const big& b) { return b < a; }

  friend big exp(big a) {
    mpfr_exp(a.v_, a.v_, MPFR_RNDN);
    return a;
  }
  friend big log(big a) {
    mpfr_log(a.v_, a.v_, MPFR_RNDN);
    return a;
  }
  friend big sqrt(big a) {
    mpfr_sqrt(a.v_, a.v_, MPFR_RNDN);
    return a;
  }
  friend big abs(big a) {
    mpfr_abs(a.v_, a.v_, MPFR_RNDN);
    return a;
  }

 private:
  mpfr_t v_;
};

}  // namespace idiolect::test
