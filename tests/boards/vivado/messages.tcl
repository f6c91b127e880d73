# Messages: errors in Vivado's form, and the warnings that came before them.

namespace eval standin {
    variable warnings {}
    variable suppressed {}
    variable outputs {}
    variable nothing_found ""  ;# the last search that found nothing: named when its empty result is used

    proc refuse {id text} { return -code error -errorcode [list STANDIN $id] "ERROR: \[$id\] $text" }

    proc warn {id text} {
        variable warnings
        lappend warnings "\[$id\] $text"
        puts "WARNING: \[$id\] $text"
    }

    proc say {text} { puts "INFO: $text" }

    # Several mistakes at once, as validation reports them.
    proc refuse_all {id title mistakes} {
        if {[llength $mistakes]} { refuse $id "$title\n  [join $mistakes "\n  "]" }
    }

    # An output of Vivado: a file that says which command would have written it, so that later commands find it.
    proc write_output {path command force} {
        variable outputs
        set folder [file dirname [file normalize $path]]
        if {![file isdirectory $folder]} {
            refuse "Common 17-37" "$command: folder '$folder' of '$path' does not exist"
        }
        if {[file exists $path] && !$force} {
            refuse "Common 17-176" "$command: '$path' exists; use -force to overwrite it"
        }
        set file [open $path w]
        puts $file "in place of the output of $command"
        close $file
        lappend outputs [list [file normalize $path] $command]
    }
}
