# What the ROS 2 wheels from PyPI need on top of an installed ROS, where both functions change nothing that matters.

# Message packages in wheels name include folders of the machine that built them, which CMake refuses: drop those.
# Call after find_package() of the message packages.
function(drop_missing_include_folders)
  get_property(imported_targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS imported_targets)
    if(target MATCHES "__rosidl_generator_py$")
      get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
      set(existing "")
      foreach(folder IN LISTS folders)
        if(EXISTS "${folder}")
          list(APPEND existing "${folder}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing}")
    endif()
  endforeach()
endfunction()

# Our own message package must not do the same to others: Python and NumPy folders (here inside .venv, so inside the
# source folder, which CMake refuses to export) count while building only. Call after rosidl_generate_interfaces().
function(keep_python_folders_private)
  set(target ${PROJECT_NAME}__rosidl_generator_py)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  list(TRANSFORM folders REPLACE "^(/.+)$" "$<BUILD_INTERFACE:\\1>")
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
endfunction()
