# SPDX-License-Identifier: Apache-2.0

# what packagers and people take as it is
dist_man_MANS += %D%/vecgridfs.8
EXTRA_DIST += %D%/quickstart %D%/check %D%/need.sh \
	%D%/vecgridfs@.service.in
systemdunitdir = $(prefix)/lib/systemd/system
nodist_systemdunit_DATA = %D%/vecgridfs@.service
CLEANFILES += $(nodist_systemdunit_DATA)
%D%/vecgridfs@.service: %D%/vecgridfs@.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && sed 's|[@]sbindir@|$(sbindir)|' \
		$(srcdir)/%D%/vecgridfs@.service.in >$@
