# RSK_DMM: --with-dmm=DIR, --with-dmm-headers=DIR. Where the stack module goes, and whether it fits.
AC_DEFUN([RSK_DMM], [
	AC_ARG_WITH([dmm],
		[AS_HELP_STRING([--with-dmm=DIR],
			[install the stack module into this release directory of DMM @<:@LIBDIR/rsk/dmm@:>@])])
	AS_CASE(["x$with_dmm"],
		[x|xyes|xno], [dmmlibdir='${pkglibdir}/dmm' dmmconfdir='${pkglibdir}/dmm'],
		[dmmlibdir=$with_dmm/lib64 dmmconfdir=$with_dmm/configure/rsocket])
	AC_SUBST([dmmlibdir])
	AC_SUBST([dmmconfdir])

	AC_ARG_WITH([dmm-headers],
		[AS_HELP_STRING([--with-dmm-headers=DIR],
			[check our idea of the module interface against DMM's headers in DIR])])
	AS_IF([test -n "$with_dmm_headers" && test "x$with_dmm_headers" != xno], [
		AC_MSG_CHECKING([whether $with_dmm_headers/nstack_dmm_api.h declares the interface we know])
		rsk_saved_cppflags=$CPPFLAGS
		CPPFLAGS="$CPPFLAGS -I$srcdir/adapter/dmm -I$with_dmm_headers"
		AC_COMPILE_IFELSE([AC_LANG_SOURCE([[#include "abi-check.c"]])],
			[AC_MSG_RESULT([yes])],
			[AC_MSG_RESULT([no])
			AC_MSG_ERROR([the stack module does not fit this version of DMM: config.log has the differences])])
		CPPFLAGS=$rsk_saved_cppflags
	])
])
